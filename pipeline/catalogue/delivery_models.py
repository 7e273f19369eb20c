"""Models of webhook deliveries. Times are Unix milliseconds."""

from __future__ import annotations

from collections.abc import Sequence
from enum import StrEnum
from typing import Any, NamedTuple

from pydantic import Field

from pipeline.models import Model, Text

OPENS_AFTER = 5  # failures in a row that open the circuit of an endpoint
SHORTEST_PROBE_MS, LONGEST_PROBE_MS = 1000, 60_000
LONGEST_RETRY_AFTER_MS = 600_000  # the longest Retry-After that an endpoint with an open circuit may ask for
LATEST_PROBE_MS = 2 * LONGEST_RETRY_AFTER_MS  # a probe further ahead was written by a host with a wrong clock


class DeliveryStatus(StrEnum):
    """The status of one event for one endpoint."""

    PENDING = "pending"
    DELIVERED = "delivered"
    UNDELIVERED = "undelivered"  # given up; it can be redelivered
    WITHDRAWN = "withdrawn"  # its attachment was deleted before it was delivered


class OutgoingEvent(NamedTuple):
    """An event and the names of its endpoints. `body` is the JSON that each of them receives."""

    event_id: str
    type: str
    body: str
    endpoints: Sequence[str]


class DeliveryAttempt(NamedTuple):
    """A delivery that is claimed with `token`. `attempts` were made before; `since` is when the first was due."""

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
    """The result of an attempt. Without `error` it was delivered; otherwise it is retried in `retry_in_s` seconds, or
    given up if that is None.

    `gone`: the endpoint wants no more events. `retry_after_s`: the seconds of its Retry-After header.
    """

    attempt: DeliveryAttempt
    error: str | None = None
    retry_in_s: float | None = None
    retry_after_s: float = 0.0
    gone: bool = False


class EndpointCircuit(NamedTuple):
    """The circuit of an endpoint. It opens after five failures in a row; then one attempt at a time is made."""

    failures: int = 0
    failing_since: int | None = None
    probe_at: int | None = None
    error: str | None = None

    @property
    def open(self) -> bool:
        return self.failures >= OPENS_AFTER

    def wait_ms(self, now: int) -> int:
        """How long nothing may be sent; 0 if something may."""
        wait = (self.probe_at or 0) - now if self.open else 0
        return wait if 0 < wait <= LATEST_PROBE_MS else 0

    def probe_delay_ms(self, now: int, *, retry_after_s: float) -> int:
        """The delay until the next probe: a quarter of the time it has been failing, from one second to one minute."""
        failing = now - (self.failing_since if self.failing_since is not None else now)
        usual = min(max(failing // 4, SHORTEST_PROBE_MS), LONGEST_PROBE_MS)
        return max(usual, min(int(retry_after_s * 1000), LONGEST_RETRY_AFTER_MS))


class ClaimedDeliveries(NamedTuple):
    """The attempts to make now, and the circuit of the endpoint before and after the recorded results."""

    attempts: list[DeliveryAttempt]
    before: EndpointCircuit
    after: EndpointCircuit


class DeliveryRecord(Model):
    """A row of `deliveries` as the API and the CLI show it, without the body."""

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
    since: int  # start of its attempts: `created_at`, or when it was redelivered
    tried_at: int | None = None
    next_at: int | None = None
    ended_at: int | None = None


class EndpointStats(NamedTuple):
    """The deliveries of one endpoint. `oldest_s` is the age of the oldest pending delivery in seconds."""

    endpoint: str
    pending: int = 0
    undelivered: int = 0
    oldest_s: float = 0.0
    circuit: EndpointCircuit = EndpointCircuit()


class DeliveryFilters(Model):
    """Filters, all of which must match. `since` is the earliest `created_at` in Unix ms."""

    status: DeliveryStatus | None = Field(default=None, description="The status of a delivery.")
    endpoint: Text = Field(default=None, description="The name of an endpoint.")
    session: Text = Field(default=None, description="The exact name of a session.")
    since: int | None = Field(default=None, ge=0, lt=2**63)

    def parameters(self) -> dict[str, Any]:
        """The filters that are set, except `since`, as plain values."""
        return self.model_dump(mode="json", exclude_none=True, exclude={"since"})
