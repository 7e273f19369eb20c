"""The ids that the server gives to attachments, which follow from the message alone.

The same rules as `pipeline/models/attachment.py` and `pipeline/values/message_ids.py` of the server.
"""

from __future__ import annotations

import hashlib
import json
import re

_SERIALIZED = re.compile(r"(true|false)_([^_@\s]+@[^_@\s]+)_([^_@\s]+)(?:_\S*)?")
_BARE = re.compile(r"[^_@\s]+")
_PERSON = re.compile(r"[^@\s]+@(?:c\.us|s\.whatsapp\.net|lid|hosted|hosted\.lid)")


def attachment_id(gateway: str, session: str, message_id: str, part: int = 0) -> str:
    """The id of the attachment of a message: 32 hex digits."""
    return hashlib.sha256(json.dumps([gateway, session, message_id, part]).encode()).hexdigest()[:32]


def message_identity(message_id: str, *, chat: str, from_me: bool) -> str:
    """What all forms of the id of a WhatsApp message have in common; the id itself if it has no known form."""
    if match := _SERIALIZED.fullmatch(message_id):
        direction, place, own = match.groups()
    elif _BARE.fullmatch(message_id):
        direction, place, own = str(from_me).lower(), chat, message_id
    else:
        return message_id
    return f"{direction}:{'' if _PERSON.fullmatch(place) else place}:{own}"
