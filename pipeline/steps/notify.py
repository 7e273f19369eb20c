"""Notify: publishes the outcome of an attachment through every notifier.

Webhooks are not notifiers: their deliveries are added in the transaction that finishes the attachment, and a dispatcher
sends them.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from typing import Any, TypeVar

import structlog

from pipeline.errors import Code, PipelineError
from pipeline.models import Attachment, LostSource, Outcome, Record, Status
from pipeline.notifiers import Notifier
from pipeline.values.gateway_values import decode_bytes
from pipeline.values.timestamps import iso_milliseconds

T = TypeVar("T")

log: Any = structlog.get_logger(__name__)

EVENTS = {
    Status.STORED: "media.done",
    Status.DONE: "media.done",
    Status.REJECTED: "media.rejected",
    Status.FAILED: "media.failed",
    Status.EXPIRED: "media.expired",
}


def build_outcome(record: Record, url: str | None, attachment: Attachment | None = None) -> Outcome:
    """The event that reports the outcome of a record. `url` is the URL of its content in storage.

    The event of an expired attachment includes the source from `attachment`, so that a bot can request a new upload.
    The event id depends on the attachment and its run only: repeated events have the same id, a replay has another.
    """
    event_type = EVENTS[record.status]
    done = event_type == EVENTS[Status.DONE]
    return Outcome(
        event_id=event_id(record),
        type=event_type,
        at=iso_milliseconds(record.ended_at if record.ended_at is not None else record.received_at),
        id=record.id,
        gateway=record.gateway,
        session=record.session,
        message_id=record.message_id,
        chat=record.chat,
        sender=record.sender,
        kind=record.kind,
        mime=record.mime,
        name=record.name,
        size=record.size,
        sha256=record.sha256,
        url=url if done else None,
        width=record.width,
        height=record.height,
        duration_ms=record.duration_ms,
        caption=record.caption,
        chat_number=record.chat_number,
        sender_number=record.sender_number,
        from_history=record.from_history,
        error=None if done else {"code": record.error_code or Code.INTERNAL.value, "message": record.error or ""},
        source=_lost_source(attachment) if attachment and record.status is Status.EXPIRED else None,
    )


def event_id(record: Record) -> str:
    """32 hex digits from the attachment's id and its run."""
    return _event_id(record.id, record.run)


def event_ids(record: Record) -> list[str]:
    """The event ids of all runs of an attachment, that of the current run last."""
    return [_event_id(record.id, run) for run in range(record.run + 1)]


def notify_many(outcomes: Sequence[Outcome], notifiers: Sequence[Notifier]) -> None:
    """Publishes the outcomes through every notifier, in order; in one call if it has the method `publish_all`.

    A notifier that fails is logged. It does not affect the attachments or the other notifiers.
    """
    for notifier in notifiers if outcomes else ():
        publish_all: Callable[[Sequence[Outcome]], None] | None = getattr(notifier, "publish_all", None)
        if publish_all:
            _publish(publish_all, outcomes, outcomes)
            continue
        for outcome in outcomes:
            _publish(notifier, outcome, [outcome])


def _publish(publish: Callable[[T], None], argument: T, outcomes: Sequence[Outcome]) -> None:
    try:
        publish(argument)
    except Exception as error:  # noqa: BLE001  (no fault of a notifier may keep an attachment from finishing)
        message = error.message if isinstance(error, PipelineError) else type(error).__name__
        for outcome in outcomes:
            log_fields = {"id": outcome.id, "session": outcome.session, "event_id": outcome.event_id}
            log.warning("notifier failed", error=message, **log_fields)


def _event_id(media_id: str, run: int) -> str:
    return hashlib.sha256(f"{media_id}:{run}".encode()).hexdigest()[:32]


def _lost_source(attachment: Attachment) -> LostSource:
    key = decode_bytes(attachment.media_key)
    path, _, _ = (attachment.direct_path or "").partition("?")
    return LostSource(
        chat=attachment.chat,
        message_id=attachment.message_id,
        direct_path=path or None,
        key_fingerprint=hashlib.sha256(key).hexdigest()[:16] if key else None,
    )
