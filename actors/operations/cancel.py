"""Cancels an attachment: it becomes `rejected` with the code `cancelled`, and the event is sent."""

from __future__ import annotations

from contextlib import suppress
from functools import partial

import structlog

from actors.execution.claiming import claim_attachment
from actors.execution.executor import run_step
from actors.execution.inline import renewed_claim
from actors.hook import Hook, hook
from actors.intake.circuit_breaker import RedisUnavailableError
from actors.intake.enqueue import enqueue_record
from actors.middleware.retries import ClaimRefusedError
from pipeline.errors import CANCELLED, Code, PermanentError, SupersededError
from pipeline.models import Claim, Failure, Record, Stage, Status
from pipeline.services import services_with

log = structlog.get_logger()


def cancel(media_id: str) -> Record:
    """Cancels an attachment that is neither stored nor refused. Cancelling it again is no error.

    An attachment that no worker holds is finished, and its event sent, before this returns. One that a worker has
    started is finished at the end of its current step; it is still `received` here, with `cancelled_at` set, and will
    be cancelled in any case. While `notify` is paused, the event waits.

    Raises:
        PermanentError: `not_found`; `not_pending`, if it is stored or finished otherwise.
        RetryableError: `catalogue`; an attachment that was marked before is cancelled by the workers.
    """
    listener_hook = hook()
    marked = listener_hook.services.catalogue.cancellations.request(media_id)
    if marked is None:
        return _cancelled_before(listener_hook.services.catalogue.get(media_id))
    log.info("cancelled", id=media_id, session=marked.session)
    try:
        # No worker holds a message that was removed from the queue, although its last worker may have left a claim.
        claim = claim_attachment(listener_hook.services, media_id, takeover=_remove_from_queue(listener_hook, media_id))
    except ClaimRefusedError:
        return listener_hook.services.catalogue.get(media_id) or marked
    return _finish(listener_hook, claim)


def cancel_refusal(record: Record | None) -> PermanentError | None:
    """The reason why an attachment cannot be cancelled: `not_found` or `not_pending`; None if it can."""
    if record is None:
        return PermanentError(Code.NOT_FOUND, "unknown: there is no such attachment")
    if record.status is Status.RECEIVED or is_cancelled(record):
        return None
    return PermanentError(Code.NOT_PENDING, f"the attachment is {record.status}; it cannot be cancelled")


def is_cancelled(record: Record) -> bool:
    return record.status is Status.REJECTED and record.error_code == Code.CANCELLED


def _cancelled_before(record: Record | None) -> Record:
    if reason := cancel_refusal(record):
        raise reason
    assert record is not None
    return record


def _remove_from_queue(listener_hook: Hook, media_id: str) -> bool:
    try:
        return listener_hook.breaker.call(partial(listener_hook.queue.remove, media_id))
    except RedisUnavailableError:
        return False


def _finish(listener_hook: Hook, claim: Claim) -> Record:
    record, catalogue = claim.record, listener_hook.services.catalogue
    reason = {"code": CANCELLED.code, "message": CANCELLED.message}
    failure = Failure(status=Status.REJECTED, stage=record.stage, attempts=record.attempts, **reason)
    try:
        with renewed_claim(listener_hook.services, claim):
            if any((pause.kind, pause.name) == ("stage", Stage.NOTIFY) for pause in catalogue.pauses.all()):
                return _leave_event(listener_hook, claim, catalogue.mark_failed(claim, failure))
            finished = run_step(services_with(listener_hook.services), claim, Stage.NOTIFY, failure, attempt=1)
            assert isinstance(finished, Record)
            return finished
    except SupersededError:
        return catalogue.get(claim.id) or record


def _leave_event(listener_hook: Hook, claim: Claim, record: Record) -> Record:
    """Leaves the event to the workers, for when `notify` is resumed."""
    listener_hook.services.catalogue.release(claim, stage=Stage.NOTIFY, attempts=1, error=None)
    with suppress(RedisUnavailableError):  # lost messages are requeued from the catalogue
        listener_hook.breaker.call(partial(enqueue_record, listener_hook.queue, record, Stage.NOTIFY))
    return record
