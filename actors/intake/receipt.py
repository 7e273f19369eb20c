"""The receipt of a hand-over."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

from pipeline.models import Status

# Starts a function in another thread and returns True at once; False if it cannot.
StartInBackground = Callable[[Callable[[], object]], bool]


@dataclass(frozen=True)
class Receipt:
    """The result of handing over an attachment.

    `mode` is "queued"; "inline": the five steps have run in the caller's thread; "spooled": it is enqueued as soon as
    Redis is back, unless it is processed in the background; "deferred": it is in the intake spool, and recorded as soon
    as the catalogue is back; "duplicate": it was handed over before; or "ignored": the rule of INTAKE_RULES with the
    number `rule` refuses it, and nothing was recorded, so that `status` is None.
    """

    id: str
    mode: Literal["queued", "inline", "spooled", "deferred", "duplicate", "ignored"]
    status: Status | None
    rule: int | None = None
