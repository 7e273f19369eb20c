"""The ids of WhatsApp's messages and the addresses of people, whatever the form in which a gateway writes them."""

from __future__ import annotations

import re
from typing import Any

# `true_5511…@c.us_3EB0…`, in a group followed by the member, in a chat with oneself by `out`.
_SERIALIZED = re.compile(r"(true|false)_([^_@\s]+@[^_@\s]+)_([^_@\s]+)(?:_\S*)?")
_BARE = re.compile(r"[^_@\s]+")
_PERSON = re.compile(r"[^@\s]+@(?:c\.us|s\.whatsapp\.net|lid|hosted|hosted\.lid)")
_NUMBER = re.compile(r"([0-9]{5,20})(?::[0-9]{1,5})?@(?:c\.us|s\.whatsapp\.net)")


def message_identity(message_id: Any, *, chat: Any, from_me: bool) -> str | None:
    """What is the same in every form of a message's id, or None if the id has no known form.

    A person has up to three addresses (`@c.us`, `@s.whatsapp.net`, `@lid`), so the chat is a part of the identity only
    if it is a group, a channel or a list. Between two persons WhatsApp's own id and the direction are enough.
    `chat` and `from_me` are those of the message, for an id that does not contain them.
    """
    if not isinstance(message_id, str):
        return None
    if match := _SERIALIZED.fullmatch(message_id):
        direction, place, own = match.groups()
    elif _BARE.fullmatch(message_id):
        direction, place, own = str(from_me).lower(), chat if isinstance(chat, str) else "", message_id
    else:
        return None
    return f"{direction}:{'' if is_person(place) else place}:{own}"


def is_person(address: str) -> bool:
    """Whether an address is that of one person, and not of a group, a channel or a list."""
    return _PERSON.fullmatch(address) is not None


def phone_number(*addresses: Any) -> str | None:
    """The digits of the first of these addresses that contains a phone number; a LID and a group contain none."""
    texts = (address for address in addresses if isinstance(address, str))
    return next((match[1] for text in texts if (match := _NUMBER.fullmatch(text))), None)
