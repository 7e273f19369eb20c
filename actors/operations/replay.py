"""Replays an attachment that failed, was rejected or has expired: it resumes at the stage that failed if possible."""

from __future__ import annotations

import time
from contextlib import suppress
from functools import partial
from pathlib import Path

import structlog

from actors.hook import hook
from actors.intake.circuit_breaker import RedisUnavailableError
from actors.intake.enqueue import enqueue_record
from actors.intake.uploads import put_intake
from actors.redis_queue.queue import RedisQueue
from pipeline.catalogue import Catalogue
from pipeline.errors import Code, PermanentError, PipelineError
from pipeline.intake_services import IntakeServices
from pipeline.models import REPLAYABLE, Record
from pipeline.models.replacement_source import NewSource
from pipeline.services import services
from pipeline.storage import intake_key

FINISH_WITHIN_S = 1.0  # how long to wait until a failed attachment is recorded as finished
ACK_WITHIN_S = 1.0  # how long to wait until its last worker has acknowledged it
POLL_S = 0.05
NOT_ANNOUNCED = "the attachment's event is still being sent"

log = structlog.get_logger()


def replay(media_id: str, source: NewSource | None = None, *, file: Path | None = None) -> bool:
    """Reopens a finished attachment and enqueues it; False if Redis is away, and the workers enqueue it later.

    Without a new `source` it resumes where it failed, or fetches from the old source again. With a new source, or with
    a local `file` that has its bytes, it starts at fetch.

    Raises:
        PermanentError: `not_found`; `not_ended`, if it is in progress or done.
        PayloadError: the source's data are not base64.
        RetryableError: `catalogue` or `storage`; nothing is changed.
    """
    return _enqueue_or_leave(_reopen(services(), media_id, source, file))


def replay_without_waiting(media_id: str, source: NewSource | None = None, *, file: Path | None = None) -> Record:
    """As `replay`, for callers that must not wait long for the catalogue. Returns the reopened attachment."""
    record = _reopen(hook().services, media_id, source, file)
    _enqueue_or_leave(record)
    return record


def replay_refusal(record: Record | None) -> PermanentError | None:
    """The reason why an attachment cannot be replayed: `not_found` or `not_ended`; None if it can."""
    if record is None:
        return PermanentError(Code.NOT_FOUND, "unknown: there is no such attachment")
    if record.status in REPLAYABLE:
        return None
    only = ", ".join(REPLAYABLE)
    return PermanentError(Code.NOT_ENDED, f"the attachment is {record.status}; only {only} can be replayed")


def _reopen(services: IntakeServices, media_id: str, source: NewSource | None, file: Path | None) -> Record:
    _wait_until_finished(services.catalogue, media_id)
    intake = file is not None or bool(source and source.data)
    if intake:
        source = source or NewSource()
        put_intake(services.storage, media_id, data=source.data, file=file)
    if source:  # the staged bytes came from the old source
        services.staging.discard(media_id)
    record = services.catalogue.reopen(media_id, source=source, intake=intake)
    if record is None:  # another caller was faster
        raise replay_refusal(services.catalogue.get(media_id)) or PermanentError(Code.NOT_ENDED, NOT_ANNOUNCED)
    if source and source.has_location and not intake:
        with suppress(PipelineError):  # the old inline bytes; a maintenance task removes them later
            services.storage.delete(intake_key(media_id))
    log.info("attachment replayed", id=record.id, session=record.session, stage=record.stage.value, run=record.run)
    return record


def _wait_until_finished(catalogue: Catalogue, media_id: str) -> None:
    """Waits until a failed attachment is finished: a receiver may answer its event with a replay before that."""
    deadline = time.monotonic() + FINISH_WITHIN_S
    while True:
        record = catalogue.get(media_id)
        if reason := replay_refusal(record):
            raise reason
        if record and record.finished_at is not None:
            return
        if time.monotonic() > deadline:
            raise PermanentError(Code.NOT_ENDED, NOT_ANNOUNCED)
        time.sleep(POLL_S)


def _enqueue_or_leave(record: Record) -> bool:
    listener_hook = hook()
    try:
        listener_hook.breaker.call(partial(_enqueue, listener_hook.queue, record))
    except RedisUnavailableError:
        return False
    return True


def _enqueue(queue: RedisQueue, record: Record) -> None:
    deadline = time.monotonic() + ACK_WITHIN_S
    while not enqueue_record(queue, record, record.stage):
        # Its last worker writes the result into the catalogue first, and acknowledges the message a moment later.
        if time.monotonic() > deadline:  # it was enqueued by another caller, or the workers enqueue it later
            return
        time.sleep(POLL_S)
