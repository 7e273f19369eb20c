"""What becomes of an attempt, told to the attachment's history and to its trace."""

from __future__ import annotations

from actors.delivery import NextStage, Retry, Verdict
from actors.observability import tracing
from pipeline.errors import Code, PipelineError
from pipeline.history import HistoryOutcome, failure_outcome
from pipeline.models import Claim, Failure, Stage


def start_attempt(claim: Claim, stage: Stage, attempt: int) -> None:
    """An attempt begins."""
    claim.attempt_log.start(stage.value, attempt)


def record_success(claim: Claim) -> None:
    """The attempt that was begun is over."""
    tracing.record_attempt(claim.record, claim.attempt_log.finish(HistoryOutcome.DONE))


def record_failure(claim: Claim, outcome: HistoryOutcome | None, error: BaseException) -> None:
    """The attempt that was begun has raised this; nothing is told of one that somebody else has taken over."""
    if outcome is None:
        return
    told = error if isinstance(error, PipelineError) else PipelineError(Code.INTERNAL, type(error).__name__)
    tracing.record_attempt(claim.record, claim.attempt_log.finish(outcome, code=told.code.value, message=told.message))


def record_crashes(claim: Claim, stage: Stage, crashes: int) -> None:
    """So many workers have died while they held it."""
    if claim.attempt_log.record_crash(stage.value, crashes):
        tracing.record_crashes(claim.record, stage.value, crashes)


def history_outcome(verdict: Verdict, *, attempt: int) -> HistoryOutcome | None:
    """What a verdict on a failed attempt is in the history; None if there is nothing to tell."""
    match verdict:
        case Retry():
            return HistoryOutcome.WAITS if verdict.attempt == attempt else HistoryOutcome.RETRY
        case NextStage(stage=Stage.FETCH):
            return HistoryOutcome.BACK
        case NextStage(inputs=Failure() as ending):
            return failure_outcome(ending.status, ending.code)
    return None
