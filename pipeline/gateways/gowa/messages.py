"""GOWA's messages in the forms of its versions: who has sent them, in which chat and session."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from pipeline.values.emptiness import first_present, is_empty
from pipeline.values.gateway_values import json_object
from pipeline.values.message_ids import is_person, message_identity, phone_number

EVENT = "message"  # of the events of version 8 and later, the only one that holds media
ACTIONS = frozenset({"message_edited", "message_revoked"})  # of messages before version 8
IN_GROUP = " in "  # between the sender and the chat, in `from` before version 8


@dataclass(frozen=True)
class Message:
    """One message. `fields` are those of all versions, among them the media."""

    fields: Mapping[str, Any] = field(repr=False)
    session: Any
    id: Any
    text: Any
    chat: Any
    sender: Any
    chat_lid: Any
    own: bool

    @property
    def timestamp(self) -> Any:
        return self.fields.get("timestamp")

    @property
    def is_channel(self) -> bool:
        return isinstance(self.chat, str) and self.chat.endswith("@newsletter")

    @property
    def identity(self) -> str | None:
        """What all forms of the message's id have in common."""
        return message_identity(self.id, chat=self.chat, from_me=self.own)

    @property
    def sender_number(self) -> str | None:
        """The phone number of the sender, if GOWA knows it."""
        return phone_number(self.sender)

    @property
    def chat_number(self) -> str | None:
        """The phone number of the other person, which in a chat addressed by a LID is that of the sender."""
        if not (isinstance(self.chat, str) and is_person(self.chat)):
            return None
        return phone_number(self.chat, self.chat_lid, None if self.own else self.sender)


def message_in(payload: Any) -> Message | None:
    """The message in a payload of any version; None in one of another event, such as a receipt or an edit."""
    event = json_object(payload)
    if is_empty(event.get("event")) and not isinstance(event.get("payload"), dict):
        return _message_alone(event)
    fields = event.get("payload")
    name = event.get("event")
    if not (isinstance(fields, dict) and isinstance(name, str) and name.strip().lower() == EVENT):
        return None
    chat = first_present(fields, "chat_id", "chat_lid")
    sender = first_present(fields, "from", "from_lid")
    own = fields.get("is_from_me")
    return Message(
        fields=fields,
        session=first_present(event, "session_id", "device_id"),
        id=fields.get("id"),
        text=first_present(fields, "body"),
        chat=chat or sender,
        sender=sender,
        chat_lid=fields.get("chat_lid"),
        own=own if isinstance(own, bool) else sender is not None and sender == event.get("device_id"),
    )


def _message_alone(fields: dict[str, Any]) -> Message | None:
    """A message of a version before 8: it does not say by which session it came, nor whether that has sent it."""
    if fields.get("action") in ACTIONS:
        return None
    content = json_object(fields.get("message"))
    source = first_present(fields, "from", "from_lid")
    sender, _, chat = source.partition(IN_GROUP) if isinstance(source, str) else (source, "", "")
    sender = sender or first_present(fields, "sender_id")
    chat = chat or (source if isinstance(source, str) and "@" in source else first_present(fields, "chat_id"))
    return Message(
        fields=fields,
        session=first_present(fields, "session_id", "device_id"),
        id=first_present(content, "id") or first_present(fields, "id"),
        text=first_present(content, "text"),
        chat=chat or sender,
        sender=sender,
        chat_lid=None,
        own=_is_own(chat, sender, fields.get("from_lid")),
    )


def _is_own(chat: Any, sender: Any, sender_lid: Any) -> bool:
    """Whether the session has sent a message: in a chat with one person, the sender is not that person."""
    if not (isinstance(chat, str) and is_person(chat)):
        return False
    return _user(chat) not in {_user(sender), _user(sender_lid)}


def _user(address: Any) -> str | None:
    """The user of an address without its device: `5511999990000` of `5511999990000:12@s.whatsapp.net`."""
    return address.partition("@")[0].partition(":")[0] if isinstance(address, str) else None
