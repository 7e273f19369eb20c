"""Which error is tried again and when: the seed's 3 attempts, 2000 and 4000 ms apart, for each stage by itself."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any, ClassVar

import dramatiq
import structlog
from dramatiq.broker import MessageProxy

from actors.delivery import Delivery, Finished, NextStage, Retry, Verdict
from actors.observability.sentry import report_error
from actors.observability.worker_info import ACTIVITY
from pipeline.catalogue import CatalogueError
from pipeline.errors import (
    AwayError,
    BusyError,
    Code,
    PacedError,
    PermanentError,
    PipelineError,
    RetryableError,
    StagingLostError,
    SupersededError,
)
from pipeline.metrics import RETRIES
from pipeline.models import Failure, Model, Refusal, Stage, Status

MAX_RETRY_AFTER_S = 600
MAX_PATIENCE_MS = 30_000
BUSY_MS = 1000

log = structlog.get_logger()


class ClaimRefusedError(PipelineError):
    """Raised when the catalogue does not give an attachment out; nothing is wrong with it."""

    def __init__(self, reason: Refusal) -> None:
        super().__init__(Code.SUPERSEDED, f"the attachment is {reason}")
        self.reason = reason


@dataclass(frozen=True)
class RetryPolicy:
    """`attempts` in all, the first included; the wait after attempt n is backoff_ms·2^(n-1)."""

    attempts: int = 3
    backoff_ms: int = 2000

    def delay_ms(self, attempt: int, error: RetryableError) -> int:
        """The wait after this attempt, in ms; a server's Retry-After lengthens it, up to 10 minutes."""
        backoff = self.backoff_ms * 2 ** (attempt - 1)
        wished = min(error.retry_after or 0, MAX_RETRY_AFTER_S) * 1000
        return int(max(backoff, wished))


def decide(
    policy: RetryPolicy, stage: Stage, attempt: int, error: BaseException
) -> Retry | Failure | Finished | NextStage:
    """What follows an error: another attempt, an ending, back to fetch, or nothing at all.

    An error that is none of ours counts as retryable: a bug must not lose an attachment.
    """
    if (patience_ms := _patience_ms(policy, attempt, error)) is not None:
        return Retry(patience_ms, attempt)
    match error:
        case ClaimRefusedError() | SupersededError():
            return Finished()
        case StagingLostError():
            return NextStage(Stage.FETCH)
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


def _patience_ms(policy: RetryPolicy, attempt: int, error: BaseException) -> int | None:
    """How long to wait for what is neither the attachment's fault nor its server's; None if it counts as an attempt."""
    match error:
        case ClaimRefusedError(reason=Refusal.HELD):
            return policy.backoff_ms
        case BusyError():
            return BUSY_MS if error.retry_after is None else max(1, math.ceil(error.retry_after * 1000))
        case AwayError():
            return min(policy.delay_ms(1, error), MAX_PATIENCE_MS)
        case CatalogueError():
            return MAX_PATIENCE_MS
        case RetryableError(code=Code.CATALOGUE):  # without it no ending could be written either
            return min(policy.delay_ms(min(attempt, 8), error), MAX_PATIENCE_MS)
    return None


def _failed(stage: Stage, attempt: int, error: PipelineError) -> Failure:
    return Failure(status=Status.FAILED, stage=stage, attempts=attempt, code=error.code, message=error.message)


def ending_inputs(ending: Failure, inputs: Any) -> Failure:
    """The ending with what its stage was given, so that a replay can start there."""
    if ending.status is not Status.FAILED or ending.stage is Stage.NOTIFY:
        return ending
    if isinstance(inputs, Model):
        inputs = inputs.model_dump(mode="json")
    return ending.model_copy(update={"inputs": inputs})


def verdict_on(policy: RetryPolicy, delivery: Delivery, error: BaseException) -> Verdict:
    """What becomes of a delivery whose stage has raised this."""
    decision = decide(policy, delivery.stage, delivery.attempt, error)
    if isinstance(decision, Failure):
        return _end(delivery, decision)
    if isinstance(decision, NextStage):
        return _look_again(policy, delivery)
    return decision


def _look_again(policy: RetryPolicy, delivery: Delivery) -> Verdict:
    """Back to fetch, at once the first time: another machine has the bytes, or had them."""
    lost = delivery.lost + 1
    if lost <= policy.attempts:
        return NextStage(Stage.FETCH, delay_ms=policy.backoff_ms * (lost - 1), lost=lost)
    gone = StagingLostError(delivery.key)
    return _end(delivery, _failed(delivery.stage, delivery.attempt, gone))


def _end(delivery: Delivery, ending: Failure) -> Verdict:
    if delivery.kwargs.get("silent"):  # what cannot even end must not go round at once
        return Retry(MAX_PATIENCE_MS, delivery.attempt)
    if delivery.stage is not Stage.NOTIFY:
        return NextStage(Stage.NOTIFY, ending_inputs(ending, delivery.kwargs.get("inputs")))
    # Announcing waits for the catalogue as long as it takes: whatever else goes wrong there is a fault of ours.
    return NextStage(Stage.NOTIFY, ending, silent=True)


class Retries(dramatiq.Middleware):
    """Turns an exception into the verdict on its delivery."""

    actor_options: ClassVar[set[str]] = {"throws"}

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
        if exception is not None and isinstance(message, Delivery) and message.verdict is None:
            self.judge(message, exception)

    def judge(self, delivery: Delivery, error: BaseException) -> None:
        """Gives a delivery whose stage has raised this its verdict, and tells of it."""
        delivery.verdict = verdict_on(self.policy, delivery, error)
        self._tell(delivery, delivery.verdict, error)

    @staticmethod
    def _tell(delivery: Delivery, verdict: Verdict, error: BaseException) -> None:
        if isinstance(error, ClaimRefusedError | SupersededError | PacedError):  # nothing has gone wrong
            return
        facts: dict[str, Any] = {
            "id": delivery.kwargs.get("media_id"),
            "session": delivery.claim.record.session if delivery.claim else None,
            "stage": delivery.actor_name,
            "attempt": delivery.attempt,
            "code": str(error.code) if isinstance(error, PipelineError) else str(Code.INTERNAL),
            "error": error.message if isinstance(error, PipelineError) else type(error).__name__,
        }
        ACTIVITY.record_error(Code(facts["code"]), delivery.stage)
        trace = None if isinstance(error, PipelineError) else error
        if isinstance(verdict, Retry):
            RETRIES.add(delivery.actor_name, facts["code"])
            log.warning("attempt failed", retry_in_ms=verdict.delay_ms, **facts, exc_info=trace)
        elif isinstance(verdict, NextStage) and verdict.stage is Stage.FETCH:
            RETRIES.add(delivery.actor_name, facts["code"])
            log.warning("back to fetch", retry_in_ms=verdict.delay_ms, **facts)
        elif isinstance(error, PermanentError):
            log.warning("attachment refused", **facts)
        elif isinstance(verdict, NextStage):
            log.error("attempts used up", **facts, exc_info=trace)
            report_error(error, facts)
