"""Replay: what failed, was rejected or has expired goes again, from the stage that failed if its bytes are there."""

from __future__ import annotations

import time
from contextlib import suppress
from functools import partial
from pathlib import Path

import structlog

from actors.delivery import encode_message, stage_message
from actors.hook import hook
from actors.intake.circuit_breaker import RedisUnavailableError
from actors.intake.uploads import put_intake
from actors.redis_queue.queue import RedisQueue, shared_queue
from actors.redis_queue.scheduling import scheduling_of_record
from pipeline.catalogue import Catalogue
from pipeline.errors import Code, PermanentError, PipelineError
from pipeline.models import Record, Status
from pipeline.models.replacement_source import NewSource
from pipeline.services import Services, services
from pipeline.storage import intake_key

REPLAYABLE = (Status.FAILED, Status.REJECTED, Status.EXPIRED)
ANNOUNCED_WITHIN_S = 1.0
LET_GO_WITHIN_S = 1.0
PAUSE_S = 0.05

log = structlog.get_logger()


def replay_refusal(record: Record | None) -> PermanentError | None:
    """Why this attachment, or the lack of one, cannot go again: `not_found` or `not_ended`; None if it can."""
    return None if record and record.status in REPLAYABLE else _refusal(record)


def replay(media_id: str, source: NewSource | None = None, *, file: Path | None = None) -> Record:
    """Opens an ended attachment again and puts it on the belt.

    Without a new `source` it goes on where it failed, or asks the old source once more; with one, or with a local
    `file` that holds its bytes, it starts at fetch.

    Raises:
        PermanentError: `not_found`; `not_ended`, if it is under way or done.
        PayloadError: the source's data are not base64.
        RetryableError: `catalogue` or `storage`; it is as it was.
        redis.RedisError: it is open again but not on the belt; the sweep puts it there.
    """
    record = _reopened(services(), media_id, source, file)
    _offer(shared_queue(), record)
    return record


def replay_without_waiting(media_id: str, source: NewSource | None = None) -> Record:
    """As `replay`, for one who must not wait for Redis: while it is away, the sweep puts the attachment on the belt.

    It is open again on disk before this returns.
    """
    at = hook()
    record = _reopened(at.services, media_id, source, None)
    with suppress(RedisUnavailableError):
        at.breaker.call(partial(_offer, at.queue, record))
    return record


def _reopened(tools: Services, media_id: str, source: NewSource | None, file: Path | None) -> Record:
    _wait_for_its_end(tools.catalogue, media_id)
    intake = file is not None or bool(source and source.data)
    if intake:
        source = source or NewSource()
        put_intake(tools.storage, media_id, data=source.data, file=file)
    if source:  # what was fetched from the old place must not stand for what lies at the new one
        tools.staging.discard(media_id)
    record = tools.catalogue.reopen(media_id, source=source, intake=intake)
    if record is None:  # somebody else was faster
        raise _refusal(tools.catalogue.get(media_id))
    if source and source.has_location and not intake:
        with suppress(PipelineError):  # nobody asks for it any more, and it is tidied in time
            tools.storage.delete(intake_key(media_id))
    log.info("attachment replayed", id=record.id, session=record.session, stage=record.stage.value, run=record.run)
    return record


def _wait_for_its_end(catalogue: Catalogue, media_id: str) -> None:
    """Returns once it has ended badly and everybody was told.

    Whoever answers an announcement with a replay is faster than the note that it was announced.
    """
    deadline = time.monotonic() + ANNOUNCED_WITHIN_S
    while True:
        record = catalogue.get(media_id)
        if reason := replay_refusal(record):
            raise reason
        if record and record.finished_at is not None:
            return
        if time.monotonic() > deadline:
            raise _refusal(record)
        time.sleep(PAUSE_S)


def _refusal(record: Record | None) -> PermanentError:
    if record is None:
        return PermanentError(Code.NOT_FOUND, "unknown: there is no such attachment")
    if record.status in REPLAYABLE:
        return PermanentError(Code.NOT_ENDED, f"is {record.status} and still being announced")
    return PermanentError(Code.NOT_ENDED, f"is {record.status}; only what is {', '.join(REPLAYABLE)} can go again")


def _offer(belt: RedisQueue, record: Record) -> None:
    message = stage_message(record.id, record.stage)
    deadline = time.monotonic() + LET_GO_WITHIN_S
    while not belt.enqueue(
        record.id, message.queue_name, encode_message(message), scheduling=scheduling_of_record(record)
    ):
        # The worker that brought it to its end notes that in the catalogue, and then lets go of it on the belt.
        if time.monotonic() > deadline:  # somebody else put it there, or the sweep will
            return
        time.sleep(PAUSE_S)
