"""Notify: how an attachment ended, told to every notifier that can be told at once.

Webhooks are not among them: what they have to tell is written down with the ending, and delivered beside the belt.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any

import structlog

from pipeline.errors import Code, PipelineError
from pipeline.models import Attachment, LostSource, Outcome, Record, Status
from pipeline.notifiers import Notifier
from pipeline.payload_forms import bytes_in

log: Any = structlog.get_logger(__name__)

EVENTS = {
    Status.STORED: "media.done",
    Status.DONE: "media.done",
    Status.REJECTED: "media.rejected",
    Status.FAILED: "media.failed",
    Status.EXPIRED: "media.expired",
}


def outcome(record: Record, url: str | None, attachment: Attachment | None = None) -> Outcome:
    """The announcement of a record that has ended; `url` is where its content stands.

    Of what has expired it tells what the `attachment` says of its source, so that a new upload can be asked for.
    The same ending has the same event id whoever announces it and however often, a replay has another.
    """
    done = EVENTS[record.status] == EVENTS[Status.DONE]
    return Outcome(
        event_id=event_id(record),
        type=EVENTS[record.status],
        at=_iso(record.ended_at if record.ended_at is not None else record.received_at),
        url=url if done else None,
        error=None if done else {"code": record.error_code or Code.INTERNAL, "message": record.error or ""},
        source=_lost_source(attachment) if attachment and record.status is Status.EXPIRED else None,
        **record.model_dump(include=_TOLD),
    )


def event_id(record: Record) -> str:
    """32 hex digits from the attachment and the number of its run."""
    return _event_id(record.id, record.run)


def event_ids(record: Record) -> list[str]:
    """Those of all its endings so far, this run's the last."""
    return [_event_id(record.id, run) for run in range(record.run + 1)]


def notify(told: Outcome, notifiers: Sequence[Notifier]) -> Outcome:
    """Tells every notifier. One that fails is named in the log and costs neither the attachment nor the others."""
    for notifier in notifiers:
        try:
            notifier(told)
        except Exception as error:  # noqa: BLE001  (whoever is told is never the reason why an attachment does not end)
            message = error.message if isinstance(error, PipelineError) else type(error).__name__
            log.warning("notifier failed", id=told.id, session=told.session, event_id=told.event_id, error=message)
    return told


_TOLD = set(Outcome.model_fields) - {"event_id", "type", "at", "url", "error", "source"}


def _event_id(media_id: str, run: int) -> str:
    return hashlib.sha256(f"{media_id}:{run}".encode()).hexdigest()[:32]


def _lost_source(attachment: Attachment) -> LostSource:
    key = bytes_in(attachment.media_key)
    path, _, _ = (attachment.direct_path or "").partition("?")
    return LostSource(
        chat=attachment.chat,
        message_id=attachment.message_id,
        direct_path=path or None,
        key_fingerprint=hashlib.sha256(key).hexdigest()[:16] if key else None,
    )


def _iso(milliseconds: int) -> str:
    moment = datetime.fromtimestamp(milliseconds / 1000, UTC)
    return moment.isoformat(timespec="milliseconds").replace("+00:00", "Z")
