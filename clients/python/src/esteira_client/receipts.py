"""What a hand-over returns."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

Mode = Literal["accepted", "ignored", "spooled", "fallback"]


@dataclass(frozen=True)
class AcceptedAttachment:
    """An attachment of a message. `status` is that of the catalogue, None as long as the server has not answered."""

    id: str
    message_id: str | None
    status: str | None


@dataclass(frozen=True)
class Receipt:
    """What became of a hand-over.

    `mode`: `accepted`, the server has recorded it; `ignored`, it has no media, or a rule of INTAKE_RULES refuses it;
    `spooled`, it is synced to the spool and will be sent; `fallback`, the fallback function has processed it.

    `id` identifies the (first) attachment in events and in the API; None if nothing was accepted. `status` is the
    attachment's status if `accepted`. `reason` is the code of the error because of which the message was spooled or
    processed by the fallback function, and `result` is what that function returned.
    """

    mode: Mode
    id: str | None
    message_id: str
    status: str | None = None
    attachments: tuple[AcceptedAttachment, ...] = ()
    reason: str | None = None
    result: Any = None
