"""The form of WhatsApp Web, which WPPConnect, venom and whatsapp-web.js pass on: the hook of WPPConnect takes it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from esteira_client.errors import MessageError
from esteira_client.messages.hand_over import HandOver, Message, WithoutMedia
from esteira_client.messages.ids import attachment_id, message_identity

PATH = "/hooks/wppconnect"
WITHOUT_MEDIA = frozenset({"chat", "protocol", "reaction", "revoked"})
# What the server reads. A message has much more: the chat, the contact, the quoted message.
FIELDS = (
    *("author", "body", "caption", "chatId", "clientUrl", "deprecatedMms3Url", "directPath", "encFilehash", "fileUrl"),
    *("filehash", "filename", "from", "fromMe", "isMMS", "isMedia", "mediaKey", "mimetype", "participantAlt"),
    *("remoteJidAlt", "senderPn", "size", "t", "timestamp", "to", "type", "uploadhash"),
)


def is_wppconnect(message: Message) -> bool:
    return isinstance(message.get("id"), str | Mapping) and isinstance(message.get("type"), str)


def is_venom(message: Message) -> bool:
    return "isOnline" in message and is_wppconnect(message)


def is_wwebjs(message: Message) -> bool:
    return isinstance(message.get("_data"), Mapping)


def wppconnect(message: Message, session: str) -> HandOver | WithoutMedia:
    """The request for a message.

    Raises:
        MessageError: it has no id.
    """
    message_id = _id(message.get("id"))
    if not message_id:
        raise MessageError("the message has no id")
    if message.get("type") in WITHOUT_MEDIA:
        return WithoutMedia(message_id)
    fields = {name: message[name] for name in FIELDS if message.get(name) is not None}
    if sender := _sender(message.get("sender")):
        fields["sender"] = sender
    own = message.get("fromMe") is True
    chat = _address(message.get("chatId") or message.get("to" if own else "from"))
    known = attachment_id("wppconnect", session, message_identity(message_id, chat=chat, from_me=own))
    body = {**fields, "id": message_id, "event": "onmessage", "session": session}
    return HandOver(PATH, body, known, message_id)


def venom(message: Message, session: str) -> HandOver | WithoutMedia:
    """The same for venom: own messages say so in their id alone, and a file may be in `content`."""
    own = message.get("fromMe", str(message.get("id")).startswith("true_"))
    return wppconnect({**message, "fromMe": own, "body": message.get("body", message.get("content"))}, session)


def wwebjs(message: Message, session: str) -> HandOver | WithoutMedia:
    """The same for whatsapp-web.js, as JSON: WhatsApp Web's own record is in `_data`.

    Raises:
        MessageError: it has no id or no record.
    """
    data = message.get("_data")
    if not isinstance(data, Mapping):
        raise MessageError("a message of whatsapp-web.js has _data")
    known = data.get("id", message.get("id"))
    own = data.get("fromMe", message.get("fromMe", isinstance(known, Mapping) and known.get("fromMe") is True))
    return wppconnect({**data, "id": known, "fromMe": own, "type": data.get("type", message.get("type"))}, session)


def _id(value: Any) -> str:
    """A message's id as text, put together from its parts if WhatsApp Web leaves `_serialized` empty."""
    if not isinstance(value, Mapping):
        return value if isinstance(value, str) else ""
    if value.get("_serialized"):
        return str(value["_serialized"])
    parts: list[Any] = [
        "true" if value.get("fromMe") is True else "false",
        _address(value.get("remote")),
        value.get("id"),
    ]
    if value.get("participant"):
        parts.append(_address(value["participant"]))
    return "_".join(parts) if all(isinstance(part, str) and part for part in parts) else ""


def _address(value: Any) -> str:
    if not isinstance(value, Mapping):
        return value if isinstance(value, str) else ""
    if value.get("_serialized"):
        return str(value["_serialized"])
    return f"{value['user']}@{value['server']}" if value.get("user") and value.get("server") else ""


def _sender(sender: Any) -> Any:
    if not isinstance(sender, Mapping):
        return sender
    fields = {"id": _address(sender.get("id")), "phoneNumber": _address(sender.get("phoneNumber"))}
    return {name: value for name, value in fields.items() if value}
