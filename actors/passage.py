"""What becomes of an attempt, told to the attachment's history."""

from __future__ import annotations

from actors.delivery import Again, Forward, Verdict
from pipeline.errors import Code, PipelineError
from pipeline.history import ENDINGS, Attempt, HistoryOutcome
from pipeline.models import Claim, Ending, Stage


def begin(claim: Claim, stage: Stage, attempt: int) -> None:
    """An attempt begins."""
    claim.trail.begin(stage.value, attempt)


def went_well(claim: Claim) -> Attempt | None:
    """The attempt that was begun is over."""
    return claim.trail.end(HistoryOutcome.DONE)


def went_wrong(claim: Claim, outcome: HistoryOutcome | None, error: BaseException) -> Attempt | None:
    """The attempt that was begun has raised this; nothing is told of one that somebody else has taken over."""
    if outcome is None:
        return None
    if isinstance(error, PipelineError):
        return claim.trail.end(outcome, code=error.code.value, message=error.message)
    return claim.trail.end(outcome, code=Code.INTERNAL.value, message=type(error).__name__)


def taken_over(claim: Claim, stage: Stage, crashes: int) -> bool:
    """So many workers have died while they held it."""
    return claim.trail.crashed(stage.value, crashes)


def outcome_of(verdict: Verdict, *, attempt: int) -> HistoryOutcome | None:
    """What a verdict on a failed attempt is in the history; None if there is nothing to tell."""
    match verdict:
        case Again():
            return HistoryOutcome.WAITS if verdict.attempt == attempt else HistoryOutcome.RETRY
        case Forward(stage=Stage.FETCH):
            return HistoryOutcome.BACK
        case Forward(inputs=Ending() as ending):
            return ENDINGS[ending.status]
    return None
