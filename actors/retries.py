"""Which error is tried again and when: the seed's 3 attempts, 2000 and 4000 ms apart, for each stage by itself."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

import dramatiq
import sentry_sdk
import structlog
from dramatiq.broker import MessageProxy

from actors.delivery import Again, Delivery, Finished, Forward, Verdict
from pipeline.catalogue import CatalogueError
from pipeline.errors import (
    Code,
    PermanentError,
    PipelineError,
    RetryableError,
    StagingLostError,
    SupersededError,
)
from pipeline.models import Ending, Model, Refusal, Stage, Status

MAX_RETRY_AFTER_S = 600
MAX_PATIENCE_MS = 30_000

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
) -> Again | Ending | Finished | Forward:
    """What follows an error: another attempt, an ending, back to fetch, or nothing at all.

    An error that is none of ours counts as retryable: a bug must not lose an attachment.
    """
    match error:
        case ClaimRefusedError(reason=Refusal.HELD):
            return Again(policy.backoff_ms, attempt)
        case ClaimRefusedError() | SupersededError():
            return Finished()
        case StagingLostError():
            return Forward(Stage.FETCH)
        case CatalogueError():
            # Without its tables no ending can be written either.
            return Again(MAX_PATIENCE_MS, attempt)
        case PermanentError():
            status = Status.EXPIRED if error.code is Code.SOURCE_GONE else Status.REJECTED
            return Ending(status=status, stage=stage, attempts=attempt, code=error.code, message=error.message)
        case RetryableError(code=Code.CATALOGUE):
            # Without the catalogue no ending can be written either: this costs patience, not attempts.
            return Again(min(policy.delay_ms(min(attempt, 8), error), MAX_PATIENCE_MS), attempt)
        case RetryableError():
            retryable = error
        case _:
            retryable = RetryableError(Code.INTERNAL, type(error).__name__)
    if attempt < policy.attempts:
        return Again(policy.delay_ms(attempt, retryable), attempt + 1)
    return Ending(status=Status.FAILED, stage=stage, attempts=attempt, code=retryable.code, message=retryable.message)


def ending_inputs(ending: Ending, inputs: Any) -> Ending:
    """The ending with what its stage was given, so that a replay can start there."""
    if ending.status is not Status.FAILED or ending.stage is Stage.NOTIFY:
        return ending
    if isinstance(inputs, Model):
        inputs = inputs.model_dump(mode="json")
    return ending.model_copy(update={"inputs": inputs})


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
        if exception is None or not isinstance(message, Delivery) or message.verdict is not None:
            return
        decision = decide(self.policy, message.stage, message.attempt, exception)
        message.verdict = self._verdict(message, decision)
        self._tell(message, decision, exception)

    @staticmethod
    def _verdict(delivery: Delivery, decision: Again | Ending | Finished | Forward) -> Verdict:
        if not isinstance(decision, Ending):
            return decision
        if delivery.kwargs.get("silent"):  # what cannot even end must not go round at once
            return Again(MAX_PATIENCE_MS, delivery.attempt)
        # An announcement that cannot be made cannot be announced either.
        silent = delivery.stage is Stage.NOTIFY
        return Forward(Stage.NOTIFY, ending_inputs(decision, delivery.kwargs.get("inputs")), silent=silent)

    def _tell(self, delivery: Delivery, decision: Again | Ending | Finished | Forward, error: BaseException) -> None:
        if isinstance(error, ClaimRefusedError | SupersededError):
            return
        known = isinstance(error, PipelineError)
        facts: dict[str, Any] = {
            "id": delivery.kwargs.get("media_id"),
            "session": delivery.claim.record.session if delivery.claim else None,
            "stage": delivery.actor_name,
            "attempt": delivery.attempt,
            "code": str(error.code) if isinstance(error, PipelineError) else str(Code.INTERNAL),
            "error": error.message if isinstance(error, PipelineError) else type(error).__name__,
        }
        if isinstance(decision, Again):
            log.warning("attempt failed", retry_in_ms=decision.delay_ms, **facts, exc_info=None if known else error)
        elif isinstance(decision, Ending) and decision.status is Status.FAILED:
            log.error("attempts used up", **facts, exc_info=None if known else error)
            sentry_sdk.capture_exception(error)
        elif isinstance(decision, Ending):
            log.warning("attachment refused", **facts)
