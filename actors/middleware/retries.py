"""Turns errors into verdicts: which error is retried, when, and how an attachment ends.

Each stage has 3 attempts of its own, 2000 and 4000 ms apart, as in the BullMQ design.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import dramatiq
import structlog
from dramatiq.broker import MessageProxy

from actors.delivery import Delivery, Finished, NextStage, Retry, Verdict
from actors.observability.sentry import report_error
from actors.observability.worker_info import ACTIVITY
from pipeline.catalogue import CatalogueError
from pipeline.config.settings import Settings
from pipeline.errors import (
    AwayError,
    BusyError,
    Code,
    GoneError,
    PacedError,
    PermanentError,
    PipelineError,
    RetryableError,
    ReuploadError,
    StagingLostError,
    SupersededError,
)
from pipeline.metrics import RETRIES
from pipeline.models import Failure, GoneSource, Model, Refusal, Stage, Status

MAX_RETRY_AFTER_S = 600  # a server's Retry-After counts up to here
MAX_UNCOUNTED_DELAY_MS = 30_000  # between tries that count as no attempt
REUPLOAD_PATIENCE = 5  # times the usual backoff between requests to a gateway, which may be restarting
BUSY_MS = 1000  # before the next try of work that found no free slot

log = structlog.get_logger()


class ClaimRefusedError(PipelineError):
    """Raised when the catalogue refuses a claim: the attachment is held, finished or unknown. This is not a failure."""

    def __init__(self, reason: Refusal) -> None:
        super().__init__(Code.SUPERSEDED, f"the attachment is {reason}")
        self.reason = reason


@dataclass(frozen=True)
class RetryPolicy:
    """`attempts` in all, including the first; the delay after attempt n is backoff_ms·2^(n-1)."""

    attempts: int = 3
    backoff_ms: int = 2000

    @classmethod
    def of(cls, settings: Settings) -> RetryPolicy:
        return cls(settings.media_attempts, settings.media_backoff_ms)

    def delay_ms(self, attempt: int, error: RetryableError) -> int:
        """Delay after this attempt in ms; a server's Retry-After makes it longer, up to 10 minutes."""
        backoff = self.backoff_ms * 2 ** (attempt - 1)
        if isinstance(error, ReuploadError):
            backoff *= REUPLOAD_PATIENCE
        requested = min(error.retry_after or 0, MAX_RETRY_AFTER_S) * 1000
        return int(max(backoff, requested))


def decide(
    policy: RetryPolicy, stage: Stage, attempt: int, error: BaseException
) -> Retry | Failure | Finished | NextStage:
    """The pure rule for what follows an error: another attempt, a failure, back to fetch, or nothing.

    Any error other than a PipelineError counts as retryable, because a bug must not lose an attachment.
    """
    if (uncounted_delay_ms := _uncounted_delay_ms(policy, attempt, error)) is not None:
        return Retry(uncounted_delay_ms, attempt)
    match error:
        case ClaimRefusedError() | SupersededError():
            return Finished()
        case StagingLostError():
            return NextStage(Stage.FETCH)
        case GoneError():  # with attempts of its own
            return NextStage(Stage.FETCH, GoneSource(message=error.message))
        case PermanentError():
            status = Status.EXPIRED if error.code is Code.SOURCE_GONE else Status.REJECTED
            return Failure(status=status, stage=stage, attempts=attempt, code=error.code, message=error.message)
        case RetryableError():
            retryable = error
        case _:
            retryable = RetryableError(Code.INTERNAL, type(error).__name__)
    if attempt < policy.attempts:
        return Retry(policy.delay_ms(attempt, retryable), attempt + 1)
    return _failed(stage, attempt, retryable)


def _uncounted_delay_ms(policy: RetryPolicy, attempt: int, error: BaseException) -> int | None:
    """Delay in ms after an error that counts as no attempt: the attachment and its server caused none; else None."""
    match error:
        case ClaimRefusedError(reason=Refusal.HELD):
            return policy.backoff_ms
        case BusyError():
            return BUSY_MS if error.retry_after is None else max(1, math.ceil(error.retry_after * 1000))
        case AwayError():
            return min(policy.delay_ms(1, error), MAX_UNCOUNTED_DELAY_MS)
        case CatalogueError():
            return MAX_UNCOUNTED_DELAY_MS
        case RetryableError(code=Code.CATALOGUE):  # a failure could not be stored either
            return min(policy.delay_ms(min(attempt, 8), error), MAX_UNCOUNTED_DELAY_MS)
    return None


def _failed(stage: Stage, attempt: int, error: PipelineError) -> Failure:
    status, code = Status.FAILED, error.code
    if isinstance(error, ReuploadError):  # whatever the gateway's trouble is, the source is gone
        status, code = Status.EXPIRED, Code.SOURCE_GONE
    return Failure(status=status, stage=stage, attempts=attempt, code=code, message=error.message)


def failure_inputs(failure: Failure, inputs: Any) -> Failure:
    """Adds the inputs of the failed stage to a failure, so that a replay can start there."""
    if failure.status is not Status.FAILED or failure.stage in {Stage.FETCH, Stage.NOTIFY}:
        return failure
    if isinstance(inputs, Model):
        inputs = inputs.model_dump(mode="json")
    return failure.model_copy(update={"inputs": inputs})


def verdict_for_error(policy: RetryPolicy, delivery: Delivery, error: BaseException) -> Verdict:
    """The verdict on a delivery whose stage has raised `error`: `decide`, applied to the delivery."""
    decision = decide(policy, delivery.stage, delivery.attempt, error)
    if isinstance(decision, Failure):
        return _end(delivery, decision)
    if isinstance(decision, NextStage):
        return decision if decision.inputs else _fetch_again(policy, delivery)
    return decision


def _fetch_again(policy: RetryPolicy, delivery: Delivery) -> Verdict:
    """Back to fetch, without delay the first time: the staged bytes may be on another machine."""
    lost = delivery.lost + 1
    if lost <= policy.attempts:
        return NextStage(Stage.FETCH, delay_ms=policy.backoff_ms * (lost - 1), lost=lost)
    return _end(delivery, _failed(delivery.stage, delivery.attempt, StagingLostError(delivery.key)))


def _end(delivery: Delivery, failure: Failure) -> Verdict:
    if delivery.kwargs.get("silent"):  # even its failure cannot be stored: without a delay it would loop
        return Retry(MAX_UNCOUNTED_DELAY_MS, delivery.attempt)
    if delivery.stage is not Stage.NOTIFY:
        return NextStage(Stage.NOTIFY, failure_inputs(failure, delivery.kwargs.get("inputs")))
    # A notify step waits for the catalogue without limit, so any other error here is a bug: end without announcing.
    return NextStage(Stage.NOTIFY, failure, silent=True)


def set_verdict(policy: RetryPolicy, delivery: Delivery, error: BaseException) -> Verdict:
    """Sets the verdict on a delivery whose stage has raised `error`, logs and counts the failure.

    Every error of a stage comes through here: those that `execution.executor` catches and those that the middleware
    below receives from Dramatiq.
    """
    verdict = delivery.verdict = verdict_for_error(policy, delivery, error)
    if not isinstance(error, ClaimRefusedError | SupersededError | PacedError):  # these are no failures
        _report(delivery, verdict, error)
    return verdict


def _report(delivery: Delivery, verdict: Verdict, error: BaseException) -> None:
    log_fields: dict[str, Any] = {
        "id": delivery.kwargs.get("media_id"),
        "session": delivery.claim.record.session if delivery.claim else None,
        "stage": delivery.actor_name,
        "attempt": delivery.attempt,
        "code": str(error.code) if isinstance(error, PipelineError) else str(Code.INTERNAL),
        "error": error.message if isinstance(error, PipelineError) else type(error).__name__,
    }
    ACTIVITY.record_error(Code(log_fields["code"]), delivery.stage)
    trace = None if isinstance(error, PipelineError) else error
    if isinstance(verdict, Retry):
        RETRIES.add(delivery.actor_name, log_fields["code"])
        log.warning("attempt failed", retry_in_ms=verdict.delay_ms, **log_fields, exc_info=trace)
    elif isinstance(verdict, NextStage) and verdict.stage is Stage.FETCH:
        RETRIES.add(delivery.actor_name, log_fields["code"])
        event = "source gone, asking the gateway" if isinstance(error, GoneError) else "back to fetch"
        log.warning(event, retry_in_ms=verdict.delay_ms, **log_fields)
    elif isinstance(error, PermanentError):
        log.warning("attachment rejected", **log_fields)
    elif isinstance(verdict, NextStage):
        log.error("attempts used up", **log_fields, exc_info=trace)
        report_error(error, log_fields)


class Retries(dramatiq.Middleware):
    """Gives a verdict to deliveries whose actor has raised: a stage's own errors never get that far."""

    def __init__(self, policy: RetryPolicy) -> None:
        self.policy = policy

    def after_process_message(
        self,
        broker: dramatiq.Broker,
        message: MessageProxy,
        *,
        result: Any = None,
        exception: BaseException | None = None,
    ) -> None:
        if exception is None or not isinstance(message, Delivery):
            return
        if message.verdict is None and not message.in_batch:
            set_verdict(self.policy, message, exception)
