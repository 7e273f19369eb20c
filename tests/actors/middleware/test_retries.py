"""Which error is tried again, and when."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from actors.delivery import Finished, NextStage, Retry
from actors.middleware.retries import ClaimRefusedError, RetryPolicy, decide, ending_inputs
from pipeline.errors import (
    AwayError,
    BusyError,
    Code,
    PermanentError,
    RetryableError,
    StagingLostError,
    SupersededError,
)
from pipeline.models import Failure, Fetched, Refusal, Stage, Status

SEED = RetryPolicy(attempts=3, backoff_ms=2000)
UNAVAILABLE = RetryableError(Code.FETCH_UNAVAILABLE, "answers 503")


def test_three_attempts_wait_two_and_four_seconds() -> None:
    assert decide(SEED, Stage.FETCH, 1, UNAVAILABLE) == Retry(2000, 2)
    assert decide(SEED, Stage.FETCH, 2, UNAVAILABLE) == Retry(4000, 3)
    last = decide(SEED, Stage.FETCH, 3, UNAVAILABLE)
    assert isinstance(last, Failure)
    assert (last.status, last.stage, last.attempts, last.code) == (Status.FAILED, Stage.FETCH, 3, UNAVAILABLE.code)


@pytest.mark.parametrize(("wished", "delay_ms"), [(1, 2000), (30, 30_000), (3600, 600_000)])
def test_a_servers_wish_lengthens_the_wait_up_to_ten_minutes(wished: float, delay_ms: int) -> None:
    error = RetryableError(Code.FETCH_UNAVAILABLE, "answers 429", retry_after=wished)
    assert decide(SEED, Stage.FETCH, 1, error) == Retry(delay_ms, 2)


@given(stage=st.sampled_from(Stage), attempt=st.integers(1, 10), code=st.sampled_from(Code))
def test_a_permanent_error_is_never_tried_again(stage: Stage, attempt: int, code: Code) -> None:
    decision = decide(SEED, stage, attempt, PermanentError(code, "no"))
    assert isinstance(decision, Failure)
    assert decision.status is (Status.EXPIRED if code is Code.SOURCE_GONE else Status.REJECTED)


@given(attempts=st.integers(1, 6), code=st.sampled_from([code for code in Code if code is not Code.CATALOGUE]))
def test_a_retryable_error_is_tried_exactly_as_often_as_set(attempts: int, code: Code) -> None:
    policy, attempt = RetryPolicy(attempts, 10), 1
    while isinstance(decision := decide(policy, Stage.PERSIST, attempt, RetryableError(code, "later")), Retry):
        assert decision.delay_ms == 10 * 2 ** (attempt - 1)
        attempt = decision.attempt
    assert attempt == attempts


def test_a_catalogue_that_is_away_costs_patience_but_no_attempt() -> None:
    error = RetryableError(Code.CATALOGUE, "locked")
    for attempt in (1, 2, 3, 50):
        decision = decide(SEED, Stage.PERSIST, attempt, error)
        assert isinstance(decision, Retry)
        assert decision.attempt == attempt
        assert decision.delay_ms <= 30_000


def test_a_bug_is_tried_again_and_names_itself_without_its_words() -> None:
    assert isinstance(decide(SEED, Stage.DETECT, 1, ValueError("secret")), Retry)
    last = decide(SEED, Stage.DETECT, 3, ValueError("secret"))
    assert isinstance(last, Failure)
    assert (last.code, last.message) == (Code.INTERNAL, "ValueError")


def test_a_full_house_is_no_attempt() -> None:
    busy = BusyError(Code.FETCH_BUSY, "8 files are being fetched")
    assert decide(SEED, Stage.FETCH, 3, busy) == Retry(1000, 3)


@pytest.mark.parametrize(("wished", "delay_ms"), [(0, 2000), (12, 12_000), (600, 30_000)])
def test_while_a_server_is_away_that_all_need_attachments_wait_and_no_attempt_counts(
    wished: float, delay_ms: int
) -> None:
    error = AwayError(Code.ANTIVIRUS, "clamd does not answer", retry_after=wished)
    for attempt in (1, 3, 50):
        assert decide(SEED, Stage.PERSIST, attempt, error) == Retry(delay_ms, attempt)


def test_lost_staged_bytes_go_back_to_fetch() -> None:
    assert decide(SEED, Stage.PERSIST, 1, StagingLostError("id")) == NextStage(Stage.FETCH)


def test_what_another_has_or_had_is_let_go() -> None:
    assert decide(SEED, Stage.FETCH, 1, SupersededError("id")) == Finished()
    assert decide(SEED, Stage.FETCH, 1, ClaimRefusedError(Refusal.ENDED)) == Finished()
    assert decide(SEED, Stage.FETCH, 1, ClaimRefusedError(Refusal.UNKNOWN)) == Finished()
    assert decide(SEED, Stage.FETCH, 2, ClaimRefusedError(Refusal.HELD)) == Retry(2000, 2)


def test_only_a_failed_ending_keeps_what_its_stage_was_given() -> None:
    inputs = Fetched(size=1, sha256="ab")
    failed = Failure(status=Status.FAILED, stage=Stage.DETECT, attempts=3, code=Code.STORAGE, message="")
    assert ending_inputs(failed, inputs).inputs == {"size": 1, "sha256": "ab", "deduplicated": False}
    assert ending_inputs(failed, {"size": 1}).inputs == {"size": 1}
    refused = failed.model_copy(update={"status": Status.REJECTED})
    assert ending_inputs(refused, inputs).inputs is None
