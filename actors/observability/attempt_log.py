"""Records attempts in the attachment's history and in its trace."""

from __future__ import annotations

from actors.delivery import NextStage, Retry, Verdict
from actors.observability import tracing
from pipeline.errors import Code, PipelineError
from pipeline.history import HistoryOutcome, failure_outcome
from pipeline.models import Claim, Failure, Fetched, GoneSource, Model, Stage


def record_start(claim: Claim, stage: Stage, attempt: int) -> None:
    """Records the start of an attempt."""
    claim.attempt_log.start(stage.value, attempt)


def record_success(claim: Claim, result: Model) -> None:
    """Records the success of the started attempt, with the note of its result."""
    note = result.note if isinstance(result, Fetched) else None
    tracing.record_attempt(claim.record, claim.attempt_log.finish(HistoryOutcome.DONE, message=note))


def record_failure(claim: Claim, outcome: HistoryOutcome | None, error: BaseException) -> None:
    """Records the failure of the started attempt. Without an outcome another worker owns it: nothing is recorded."""
    if outcome is None:
        return
    code, message = Code.INTERNAL, type(error).__name__
    if isinstance(error, PipelineError):
        code, message = error.code, error.message
    tracing.record_attempt(claim.record, claim.attempt_log.finish(outcome, code=code.value, message=message))


def record_crashes(claim: Claim, stage: Stage, crashes: int) -> None:
    """Records the number of workers that have crashed with this attachment; a number that is known is ignored."""
    if claim.attempt_log.record_crash(stage.value, crashes):
        tracing.record_crashes(claim.record, stage.value, crashes)


def history_outcome(verdict: Verdict, *, attempt: int) -> HistoryOutcome | None:
    """The history's outcome for the verdict on a failed attempt; None if the history gets no entry."""
    match verdict:
        case Retry():
            return HistoryOutcome.WAITS if verdict.attempt == attempt else HistoryOutcome.RETRY
        case NextStage(stage=Stage.FETCH, inputs=GoneSource()):
            return HistoryOutcome.ASKS
        case NextStage(stage=Stage.FETCH):
            return HistoryOutcome.BACK
        case NextStage(inputs=Failure() as failure):
            return failure_outcome(failure.status, failure.code)
    return None
