"""Cancelling: what has not ended ends `rejected`, code `cancelled`, and everybody is told."""

from __future__ import annotations

from contextlib import suppress
from functools import partial

import structlog

from actors.delivery import encode_message, stage_message
from actors.execution.claiming import claim_attachment
from actors.execution.executor import run_step
from actors.execution.inline import renewed_claim
from actors.hook import Hook, hook
from actors.intake.circuit_breaker import RedisUnavailableError
from actors.middleware.retries import ClaimRefusedError
from actors.redis_queue.scheduling import scheduling_of_record
from pipeline.errors import CANCELLED, Code, PermanentError, SupersededError
from pipeline.models import Claim, Failure, Record, Stage, Status

log = structlog.get_logger()


def cancel_refusal(record: Record | None) -> PermanentError | None:
    """Why this attachment, or the lack of one, cannot be cancelled: `not_found` or `not_pending`; None if it can."""
    if record is None:
        return PermanentError(Code.NOT_FOUND, "unknown: there is no such attachment")
    if record.status is Status.RECEIVED or is_cancelled(record):
        return None
    return PermanentError(Code.NOT_PENDING, f"is {record.status}; only what has not ended can be cancelled")


def is_cancelled(record: Record) -> bool:
    """Whether it has ended so."""
    return record.status is Status.REJECTED and record.error_code == Code.CANCELLED


def cancel(media_id: str) -> Record:
    """Cancels an attachment that is neither stored nor refused; once more is no error.

    What nobody works on ends and is announced before this returns. What a worker has begun ends when it comes to the
    end of its step, and is still `received` here, with `cancelled_at`; it ends as cancelled, whatever happens. While
    `notify` is paused its announcement waits.

    Raises:
        PermanentError: `not_found`; `not_pending`, if it is stored or has ended otherwise.
        RetryableError: `catalogue`; once it is marked, the workers end it.
    """
    at = hook()
    marked = at.services.catalogue.cancellations.request(media_id)
    if marked is None:
        return _ended_before(at, media_id)
    log.info("cancelled", id=media_id, session=marked.session)
    try:
        # What was taken off the belt is in no worker's hands, though a claim may be left by the one that had it last.
        claim = claim_attachment(at.services, media_id, takeover=_taken_off(at, media_id))
    except ClaimRefusedError:
        return at.services.catalogue.get(media_id) or marked
    return _end(at, claim)


def _ended_before(at: Hook, media_id: str) -> Record:
    record = at.services.catalogue.get(media_id)
    if reason := cancel_refusal(record):
        raise reason
    assert record is not None
    return record


def _taken_off(at: Hook, media_id: str) -> bool:
    try:
        return at.breaker.call(partial(at.queue.remove, media_id))
    except RedisUnavailableError:
        return False


def _end(at: Hook, claim: Claim) -> Record:
    record = claim.record
    told = {"code": CANCELLED.code, "message": CANCELLED.message}
    ending = Failure(status=Status.REJECTED, stage=record.stage, attempts=record.attempts, **told)
    try:
        with renewed_claim(at.services, claim):
            if any((pause.kind, pause.name) == ("stage", Stage.NOTIFY) for pause in at.services.catalogue.pauses.all()):
                return _leave_announcement(at, claim, at.services.catalogue.mark_failed(claim, ending))
            ended = run_step(at.services, claim, Stage.NOTIFY, ending, attempt=1)
            assert isinstance(ended, Record)
            return ended
    except SupersededError:
        return at.services.catalogue.get(claim.id) or record


def _leave_announcement(at: Hook, claim: Claim, record: Record) -> Record:
    at.services.catalogue.release(claim, stage=Stage.NOTIFY, attempts=1, error=None)
    message = stage_message(record.id, Stage.NOTIFY)
    scheduling = scheduling_of_record(record)
    enqueue = partial(at.queue.enqueue, record.id, message.queue_name, encode_message(message), scheduling=scheduling)
    with suppress(RedisUnavailableError):  # a later sweep enqueues it
        at.breaker.call(enqueue)
    return record
