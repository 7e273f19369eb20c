"""WPPConnect Server: messages in the form of WhatsApp Web, with the whole file in their body if the server has it."""

from __future__ import annotations

import hashlib
import mimetypes
from collections.abc import Mapping, Sequence
from typing import Any

from pipeline.config.settings import Settings
from pipeline.errors import PayloadError
from pipeline.gateways.intake import (
    ONE_IGNORED,
    HookRequest,
    ParsedPayload,
    build_attachment,
    check_batch_size,
    declared_session,
    declared_size,
)
from pipeline.gateways.message_content import has_path_and_key, is_without_media
from pipeline.gateways.sources import declared_source, media_location
from pipeline.gateways.verification import BEARER, URL_PART, WEBHOOK_SECRET_HEADER, bearer_token, check_secret
from pipeline.models import Attachment, Kind
from pipeline.values.base64_stream import decode_base64
from pipeline.values.emptiness import first_present, is_empty, none_if_zero
from pipeline.values.gateway_values import decode_bytes, json_object, none_if_empty, whole_number
from pipeline.values.message_ids import is_person, message_identity, phone_number

# The webhook events that hold messages, and the event of the server's socket, which some programs forward.
EVENTS = frozenset({"onmessage", "onanymessage", "onselfmessage", "unreadmessages", "receivedmessage"})
HEAD = 4096  # characters of a body, among them those of a data URL, that tell the type of a picture
PICTURES = {b"\xff\xd8\xff": "image/jpeg", b"\x89PNG\r\n": "image/png"}  # WhatsApp makes previews of these types
_mime_table = mimetypes.MimeTypes()  # the standard library's own: not the files of this machine
UNSPECIFIC = frozenset({"application/octet-stream", "binary/octet-stream"})
KINDS: Mapping[str, Kind] = {**{kind.value: kind for kind in Kind}, "ptv": Kind.VIDEO}

source = declared_source


def verify(request: HookRequest, settings: Settings) -> None:
    """Checks WPPCONNECT_SECRET in X-Webhook-Secret, in a Bearer token or as the last part of the path.

    The server itself sends no header: the secret is a part of its webhook URL.

    Raises:
        UnauthorizedError: it is missing or wrong, or not set here.
    """
    sent = {
        WEBHOOK_SECRET_HEADER: request.header(WEBHOOK_SECRET_HEADER),
        BEARER: bearer_token(request.header("authorization")),
        URL_PART: request.secret or "",
    }
    check_secret(sent, settings.wppconnect_secret, "WPPCONNECT_SECRET")


def parse(payload: Any, settings: Settings) -> ParsedPayload:
    """The media of a message, or of several in `data` or `response`, including those that the session has sent.

    Raises:
        PayloadError: it has more than MAX_BATCH messages.
    """
    messages = _messages(payload)
    check_batch_size(len(messages), settings)
    media = [message for message in messages if _is_media(message)]
    return ParsedPayload(
        tuple(_attachment(payload, message, settings) for message in media), len(messages) - len(media)
    )


def _messages(payload: Any) -> Sequence[Any]:
    if not (isinstance(payload, dict) and _event(payload) in EVENTS):
        return ONE_IGNORED
    for name in ("data", "response"):
        if isinstance(payload.get(name), (dict, list)):
            return (payload[name] or ONE_IGNORED) if isinstance(payload[name], list) else [payload[name]]
    return [payload]


def _event(payload: dict[str, Any]) -> str:
    event = payload.get("event")
    return event.lower().replace("-", "") if isinstance(event, str) else ""


def _is_media(message: Any) -> bool:
    if not isinstance(message, dict):
        return False
    kind = message.get("type")
    if is_without_media(kind) or (isinstance(kind, str) and kind in KINDS):
        return kind in KINDS
    typed = isinstance(kind, str) or is_empty(message.get("mimetype"))
    return has_path_and_key(message) or not typed or True in (message.get("isMedia"), message.get("isMMS"))


def _attachment(payload: dict[str, Any], message: dict[str, Any], settings: Settings) -> Attachment:
    kind, message_id = message.get("type"), _id(message.get("id"))
    own = message.get("fromMe") is True
    contact = json_object(message.get("sender"))
    sender = _address(
        message.get("author") or (contact.get("id") if contact else message.get("sender")) or message.get("from")
    )
    chat = _address(message.get("chatId") or message.get("to" if own else "from"))
    return build_attachment(
        {
            "gateway": "wppconnect",
            "session": declared_session(
                first_present(message, "session") or payload.get("session"), "session", settings
            ),
            "message_id": message_id,
            "identity": message_identity(message_id, chat=chat, from_me=own),
            "from_me": own,
            "chat": chat,
            "sender": sender,
            **_numbers(message, chat=chat, sender=sender),
            "kind": KINDS.get(kind) if isinstance(kind, str) else None,
            "mimetype": message.get("mimetype"),
            "filename": message.get("filename"),
            "caption": message.get("caption"),
            "size": declared_size(message.get("size")),
            "timestamp": none_if_zero(whole_number(message.get("t"))) or message.get("timestamp"),
            "file_sha256": none_if_empty(message.get("filehash")),
            "file_enc_sha256": first_present(message, "encFilehash", "uploadhash"),
            **_location(message),
        }
    )


def _numbers(message: dict[str, Any], *, chat: Any, sender: Any) -> dict[str, Any]:
    """The numbers of the chat and of the sender, which may be addressed by a LID."""
    own = message.get("fromMe") is True
    contact = _address(json_object(message.get("sender")).get("phoneNumber"))
    number = phone_number(sender, contact, message.get("senderPn"), message.get("participantAlt"))
    if isinstance(chat, str) and not is_person(chat):
        return {"sender_number": number}
    partner = None if own else number
    return {"chat_number": phone_number(chat, message.get("remoteJidAlt")) or partner, "sender_number": number}


def _id(value: Any) -> Any:
    """A message's id as text, put together from its parts if WhatsApp Web leaves `_serialized` empty."""
    if not isinstance(value, dict) or value.get("_serialized"):
        return _address(value)
    sent_by_session = "true" if value.get("fromMe") is True else "false"
    member = [_address(value["participant"])] if value.get("participant") else []
    return _joined("_", sent_by_session, _address(value.get("remote")), value.get("id"), *member)


def _address(value: Any) -> Any:
    if not isinstance(value, dict):
        return value
    return value.get("_serialized") or _joined("@", value.get("user"), value.get("server"))


def _joined(separator: str, *parts: Any) -> str | None:
    texts = [part for part in parts if isinstance(part, str)]
    return separator.join(texts) if len(texts) == len(parts) else None


def _location(message: dict[str, Any]) -> dict[str, Any]:
    location = media_location(
        direct_path=message.get("directPath"),
        url=first_present(message, "clientUrl", "deprecatedMms3Url"),
        media_key=message.get("mediaKey"),
        copy=message.get("fileUrl"),
    )
    body = message.get("body")
    if isinstance(body, str) and body and _is_file(body, message, has_url=any(location.values())):
        location["data"] = body
    return location


def _is_file(body: str, message: dict[str, Any], *, has_url: bool) -> bool:
    """Whether the body is the file (autoDownload) and not its thumbnail: its hash or its size must match.

    If a message declares neither, the body is used unless there is a URL, or it is a preview by its type. An own
    message without them is not uploaded yet: its body is a preview.
    """
    expected, size = decode_bytes(message.get("filehash")), declared_size(message.get("size"))
    if not expected and size is None:
        return not (has_url or message.get("fromMe") is True or _is_preview(body, message))
    digest, count = hashlib.sha256(), 0
    try:
        for piece in decode_base64(body):
            digest.update(piece)
            count += len(piece)
    except PayloadError:
        return False
    return digest.digest() == expected if expected else str(count) == str(size)


def _is_preview(body: str, message: dict[str, Any]) -> bool:
    """Whether the body is a picture, and the message declares something else."""
    try:
        head = next(decode_base64(body[:HEAD]), b"")
    except PayloadError:
        return False
    found = next((mime for magic, mime in PICTURES.items() if head.startswith(magic)), None)
    declared, filename = message.get("mimetype"), message.get("filename")
    if isinstance(declared, str) and "/" in declared and declared not in UNSPECIFIC:
        expected: str | None = declared.partition(";")[0].strip().lower().replace("image/jpg", "image/jpeg")
    elif isinstance(filename, str) and (guessed := _mime_table.guess_type(filename)[0]):
        expected = guessed
    else:
        expected = found if message.get("type") == Kind.IMAGE else None
    return found is not None and found != expected
