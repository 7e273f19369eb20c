"""The history's outcome of a failed attempt follows from the verdict on it."""

from __future__ import annotations

import pytest

from actors.delivery import Delivery, Finished, Verdict, stage_message
from actors.middleware.retries import RetryPolicy, verdict_for_error
from actors.observability.attempt_log import history_outcome
from pipeline.errors import (
    BusyError,
    CancelledError,
    Code,
    PermanentError,
    PipelineError,
    RetryableError,
    StagingLostError,
    SupersededError,
)
from pipeline.history import HistoryOutcome
from pipeline.models import Fetched, Stage

POLICY = RetryPolicy(attempts=3, backoff_ms=2000)
ID = "0" * 32


def delivery(stage: Stage, attempt: int, *, inputs: Fetched | None = None, lost: int = 0) -> Delivery:
    message = stage_message(ID, stage, inputs=inputs, lost=lost)
    message = message.copy(kwargs={**message.kwargs, "attempt": attempt})
    return Delivery(message, key=ID, delivery_id=1, queue=stage.value, crashes=0)


def verdict_and_outcome(held: Delivery, error: PipelineError) -> tuple[Verdict, HistoryOutcome | None]:
    verdict = verdict_for_error(POLICY, held, error)
    return verdict, history_outcome(verdict, attempt=held.attempt)


@pytest.mark.parametrize(
    ("attempt", "error", "outcome"),
    [
        (1, RetryableError(Code.FETCH_TIMEOUT, "silent"), HistoryOutcome.RETRY),
        (3, RetryableError(Code.FETCH_TIMEOUT, "silent"), HistoryOutcome.FAILED),
        (1, PermanentError(Code.TOO_LARGE, "20 MB"), HistoryOutcome.REFUSED),
        (1, PermanentError(Code.SOURCE_GONE, "answers 410"), HistoryOutcome.EXPIRED),
        (2, BusyError(Code.FETCH_BUSY, "too many at once"), HistoryOutcome.WAITS),
        (2, RetryableError(Code.CATALOGUE, "locked"), HistoryOutcome.WAITS),
        (1, CancelledError(), HistoryOutcome.CANCELLED),
        (1, SupersededError(ID), None),
    ],
)
def test_outcome_follows_from_the_error_and_the_attempt(
    attempt: int, error: PipelineError, outcome: HistoryOutcome | None
) -> None:
    assert verdict_and_outcome(delivery(Stage.FETCH, attempt), error)[1] is outcome


@pytest.mark.parametrize(
    ("lost", "outcome"), [(0, HistoryOutcome.BACK), (2, HistoryOutcome.BACK), (3, HistoryOutcome.FAILED)]
)
def test_lost_staged_bytes_go_back_to_fetch_three_times(lost: int, outcome: HistoryOutcome) -> None:
    held = delivery(Stage.DETECT, 1, inputs=Fetched(size=1, sha256="0"), lost=lost)
    assert verdict_and_outcome(held, StagingLostError(ID))[1] is outcome


def test_superseded_attempt_leaves_no_entry() -> None:
    assert verdict_and_outcome(delivery(Stage.FETCH, 1), SupersededError(ID)) == (Finished(), None)
