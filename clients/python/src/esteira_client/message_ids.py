"""The ids that the server gives to attachments, as far as they follow from the message alone.

The same rules as `pipeline/models/attachment.py` and `pipeline/values/message_ids.py` of the server.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Mapping
from typing import Any

_SERIALIZED = re.compile(r"(true|false)_([^_@\s]+@[^_@\s]+)_([^_@\s]+)(?:_\S*)?")
_BARE = re.compile(r"[^_@\s]+")
_PERSON = re.compile(r"[^@\s]+@(?:c\.us|s\.whatsapp\.net|lid|hosted|hosted\.lid)")


def attachment_id(gateway: str, session: str | None, message_id: str | None, part: int = 0) -> str | None:
    """32 hex digits; None if session or message id are unknown."""
    if not (session and message_id):
        return None
    return hashlib.sha256(json.dumps([gateway, session, message_id, part]).encode()).hexdigest()[:32]


def wppconnect_message_id(message: Mapping[str, Any]) -> str | None:
    """A message's id as text, also where WhatsApp Web writes it as an object."""
    value = message.get("id")
    if isinstance(value, Mapping):
        value = value.get("_serialized") or _joined(value)
    return value if isinstance(value, str) and value else None


def wppconnect_identity(message: Mapping[str, Any]) -> str | None:
    """What all forms of a message's id have in common; the id itself if it has no known form."""
    message_id = wppconnect_message_id(message)
    if message_id is None:
        return None
    own = message.get("fromMe") is True
    if match := _SERIALIZED.fullmatch(message_id):
        direction, place, name = match.groups()
    elif _BARE.fullmatch(message_id):
        chat = address(message.get("chatId") or message.get("to" if own else "from"))
        direction, place, name = str(own).lower(), chat or "", message_id
    else:
        return message_id
    return f"{direction}:{'' if _PERSON.fullmatch(place) else place}:{name}"


def address(value: Any) -> str | None:
    """A chat or contact as text, also where WhatsApp Web writes it as an object."""
    if isinstance(value, Mapping):
        user, server = value.get("user"), value.get("server")
        value = value.get("_serialized") or (f"{user}@{server}" if user and server else None)
    return value if isinstance(value, str) and value else None


def _joined(value: Mapping[str, Any]) -> str | None:
    parts = ["true" if value.get("fromMe") is True else "false", address(value.get("remote")), value.get("id")]
    if value.get("participant"):
        parts.append(address(value["participant"]))
    return "_".join(map(str, parts)) if all(parts) else None
