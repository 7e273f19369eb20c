"""What the catalogue says of webhook deliveries, and what it is told of them. Times are Unix milliseconds."""

from __future__ import annotations

from collections.abc import Sequence
from enum import StrEnum
from typing import Any, NamedTuple

from pydantic import Field

from pipeline.models import Model, Text

OPENS_AFTER = 5  # failures in a row
SHORTEST_PROBE_MS, LONGEST_PROBE_MS = 1000, 60_000
LONGEST_QUIET_MS = 600_000  # that a receiver may ask for with Retry-After while its circuit is open
NO_PROBE_LATER_MS = 2 * LONGEST_QUIET_MS  # what is further ahead was written by a clock that is wrong


class DeliveryStatus(StrEnum):
    """Where one event to one endpoint stands."""

    PENDING = "pending"
    DELIVERED = "delivered"
    UNDELIVERED = "undelivered"  # given up; it can be redelivered
    WITHDRAWN = "withdrawn"  # its attachment was deleted before it was delivered


class OutgoingEvent(NamedTuple):
    """An event and the endpoints that it goes to. `body` is the JSON that each of them is sent."""

    event_id: str
    type: str
    body: str
    endpoints: Sequence[str]


class DeliveryAttempt(NamedTuple):
    """A delivery that was claimed with this token; `attempts` were made before. `since` is when the first was due."""

    token: str
    id: str
    event_id: str
    media_id: str
    session: str
    type: str
    attempts: int
    since: int
    body: str


class DeliveryResult(NamedTuple):
    """How an attempt ended: well without an `error`; else `retry_in_s` is the wait in seconds, None gives it up.

    `gone` says that the receiver wants no more; `retry_after_s` is for how long it asks to be left alone.
    """

    attempt: DeliveryAttempt
    error: str | None = None
    retry_in_s: float | None = None
    retry_after_s: float = 0.0
    gone: bool = False


class EndpointCircuit(NamedTuple):
    """How it goes with a receiver: open after five failures in a row, with one attempt at a time from then on."""

    failures: int = 0
    failing_since: int | None = None
    probe_at: int | None = None
    error: str | None = None

    @property
    def open(self) -> bool:
        return self.failures >= OPENS_AFTER

    def wait_ms(self, now: int) -> int:
        """For how long nothing is to be sent; 0 if something may be."""
        wait = (self.probe_at or 0) - now if self.open else 0
        return wait if 0 < wait <= NO_PROBE_LATER_MS else 0

    def probe_delay_ms(self, now: int, *, retry_after_s: float) -> int:
        """The wait before the next probe: a quarter of how long it has failed, from a second to a minute."""
        failing = now - (self.failing_since if self.failing_since is not None else now)
        usual = min(max(failing // 4, SHORTEST_PROBE_MS), LONGEST_PROBE_MS)
        return max(usual, min(int(retry_after_s * 1000), LONGEST_QUIET_MS))


class Exchange(NamedTuple):
    """What came of an record_and_claim: what to send now, and how it stood with the receiver before and after."""

    attempts: list[DeliveryAttempt]
    before: EndpointCircuit
    after: EndpointCircuit


class DeliveryRecord(Model):
    """A row of `deliveries` as the outside sees it, without the body."""

    id: str
    event_id: str
    media_id: str
    session: str
    type: str
    endpoint: str
    status: DeliveryStatus
    attempts: int
    error: str | None = None  # of the newest attempt
    created_at: int
    since: int  # when its attempts began: at first as created_at, later when it was redelivered
    tried_at: int | None = None
    next_at: int | None = None
    ended_at: int | None = None


class EndpointStats(NamedTuple):
    """How things stand at one endpoint."""

    endpoint: str
    pending: int = 0
    undelivered: int = 0
    oldest_s: float = 0.0  # for how long the oldest that is pending has been
    circuit: EndpointCircuit = EndpointCircuit()


class DeliveryFilters(Model):
    """Every filter that is set must hold. `since` is when it was written down at the earliest, in Unix ms."""

    status: DeliveryStatus | None = None
    endpoint: Text = None
    session: Text = None
    since: int | None = Field(default=None, ge=0, lt=2**63)

    def given(self) -> dict[str, Any]:
        """The filters that are set, but for `since`, as plain values."""
        return self.model_dump(mode="json", exclude_none=True, exclude={"since"})
