"""Notify: how an attachment ended, told to every notifier."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from datetime import UTC, datetime

from pipeline.errors import Code, PipelineError, RetryableError
from pipeline.models import Outcome, Record, Status
from pipeline.notifiers import Notifier

EVENTS = {
    Status.STORED: "media.done",
    Status.DONE: "media.done",
    Status.REJECTED: "media.rejected",
    Status.FAILED: "media.failed",
    Status.EXPIRED: "media.expired",
}


def outcome(record: Record, url: str | None) -> Outcome:
    """The announcement of a record that has ended; `url` is where its content stands.

    The same ending has the same event id whoever announces it and however often, a replay has another.
    """
    done = EVENTS[record.status] == EVENTS[Status.DONE]
    return Outcome(
        event_id=event_id(record),
        type=EVENTS[record.status],
        at=_iso(record.ended_at if record.ended_at is not None else record.received_at),
        url=url if done else None,
        error=None if done else {"code": record.error_code or Code.INTERNAL, "message": record.error or ""},
        **record.model_dump(include=_TOLD),
    )


def event_id(record: Record) -> str:
    """32 hex digits from the attachment and the number of its run."""
    return hashlib.sha256(f"{record.id}:{record.run}".encode()).hexdigest()[:32]


def notify(told: Outcome, notifiers: Sequence[Notifier]) -> Outcome:
    """Tells every notifier, also those after one that fails.

    Raises:
        RetryableError: `notify`, if any of them failed; all are told again then, with the same event id.
    """
    faults = [fault for notifier in notifiers if (fault := _fault(notifier, told))]
    if faults:
        waits = [fault.retry_after for fault in faults if isinstance(fault, RetryableError) and fault.retry_after]
        message = "; ".join(fault.message for fault in faults)
        raise RetryableError(Code.NOTIFY, message, retry_after=max(waits, default=None))
    return told


_TOLD = set(Outcome.model_fields) - {"event_id", "type", "at", "url", "error"}


def _fault(notifier: Notifier, told: Outcome) -> PipelineError | None:
    try:
        notifier(told)
    except PipelineError as error:
        return error
    return None


def _iso(milliseconds: int) -> str:
    moment = datetime.fromtimestamp(milliseconds / 1000, UTC)
    return moment.isoformat(timespec="milliseconds").replace("+00:00", "Z")
