"""Notify: how an attachment ended, told to every notifier that can be told at once.

Webhooks are not among them: what they have to tell is written down with the ending, and delivered beside the belt.
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
    """The announcement of a record that has ended; `url` is where its content stands.

    Of what has expired it tells what the `attachment` says of its source, so that a new upload can be asked for.
    The same ending has the same event id whoever announces it and however often, a replay has another.
    """
    type_ = EVENTS[record.status]
    done = type_ == EVENTS[Status.DONE]
    return Outcome(
        event_id=event_id(record),
        type=type_,
        at=iso_milliseconds(record.ended_at if record.ended_at is not None else record.received_at),
        id=record.id,
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
        error=None if done else {"code": record.error_code or Code.INTERNAL.value, "message": record.error or ""},
        source=_lost_source(attachment) if attachment and record.status is Status.EXPIRED else None,
    )


def event_id(record: Record) -> str:
    """32 hex digits from the attachment and the number of its run."""
    return _event_id(record.id, record.run)


def event_ids(record: Record) -> list[str]:
    """Those of all its endings so far, this run's the last."""
    return [_event_id(record.id, run) for run in range(record.run + 1)]


def notify_many(told: Sequence[Outcome], notifiers: Sequence[Notifier]) -> None:
    """Tells every notifier of all of them, in their order; in one go those that have a `publish_all`.

    One that fails is named in the log and costs neither the attachment nor the others.
    """
    for notifier in notifiers if told else ():
        publish_all: Callable[[Sequence[Outcome]], None] | None = getattr(notifier, "publish_all", None)
        if publish_all:
            _tell(publish_all, told, told)
            continue
        for one in told:
            _tell(notifier, one, [one])


def _tell(tell: Callable[[T], None], what: T, told: Sequence[Outcome]) -> None:
    try:
        tell(what)
    except Exception as error:  # noqa: BLE001  (whoever is told is never the reason why an attachment does not end)
        message = error.message if isinstance(error, PipelineError) else type(error).__name__
        for one in told:
            log.warning("notifier failed", id=one.id, session=one.session, event_id=one.event_id, error=message)


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
