"""Retries: which error is retried, when, and how an attachment ends otherwise."""

from __future__ import annotations

import dramatiq
import pytest
from hypothesis import given
from hypothesis import strategies as st

from actors.delivery import Delivery, Finished, NextStage, Retry, stage_message
from actors.middleware.retries import ClaimRefusedError, Retries, RetryPolicy, decide, failure_inputs
from pipeline.errors import (
    AwayError,
    BusyError,
    Code,
    GoneError,
    PermanentError,
    RetryableError,
    ReuploadError,
    StagingLostError,
    SupersededError,
)
from pipeline.models import Failure, Fetched, GoneSource, Refusal, Stage, Status

POLICY = RetryPolicy(attempts=3, backoff_ms=2000)
UNAVAILABLE = RetryableError(Code.FETCH_UNAVAILABLE, "answers 503")


def test_retries_stop_after_three_attempts_with_two_and_four_seconds_between() -> None:
    assert decide(POLICY, Stage.FETCH, 1, UNAVAILABLE) == Retry(2000, 2)
    assert decide(POLICY, Stage.FETCH, 2, UNAVAILABLE) == Retry(4000, 3)
    last = decide(POLICY, Stage.FETCH, 3, UNAVAILABLE)
    assert isinstance(last, Failure)
    assert (last.status, last.stage, last.attempts, last.code) == (Status.FAILED, Stage.FETCH, 3, UNAVAILABLE.code)


@pytest.mark.parametrize(("retry_after_s", "delay_ms"), [(1, 2000), (30, 30_000), (3600, 600_000)])
def test_retry_after_lengthens_the_delay_up_to_ten_minutes(retry_after_s: float, delay_ms: int) -> None:
    error = RetryableError(Code.FETCH_UNAVAILABLE, "answers 429", retry_after=retry_after_s)
    assert decide(POLICY, Stage.FETCH, 1, error) == Retry(delay_ms, 2)


@given(stage=st.sampled_from(Stage), attempt=st.integers(1, 10), code=st.sampled_from(Code))
def test_permanent_error_is_never_retried(stage: Stage, attempt: int, code: Code) -> None:
    decision = decide(POLICY, stage, attempt, PermanentError(code, "no"))
    assert isinstance(decision, Failure)
    assert decision.status is (Status.EXPIRED if code is Code.SOURCE_GONE else Status.REJECTED)


@given(attempts=st.integers(1, 6), code=st.sampled_from([code for code in Code if code is not Code.CATALOGUE]))
def test_retryable_error_is_retried_as_often_as_configured(attempts: int, code: Code) -> None:
    policy, attempt = RetryPolicy(attempts, 10), 1
    while isinstance(decision := decide(policy, Stage.PERSIST, attempt, RetryableError(code, "later")), Retry):
        assert decision.delay_ms == 10 * 2 ** (attempt - 1)
        attempt = decision.attempt
    assert attempt == attempts


def test_catalogue_outage_delays_without_counting_an_attempt() -> None:
    error = RetryableError(Code.CATALOGUE, "locked")
    for attempt in (1, 2, 3, 50):
        decision = decide(POLICY, Stage.PERSIST, attempt, error)
        assert isinstance(decision, Retry)
        assert decision.attempt == attempt
        assert decision.delay_ms <= 30_000


def test_unexpected_error_is_retried_and_stored_without_its_message() -> None:
    assert isinstance(decide(POLICY, Stage.DETECT, 1, ValueError("secret")), Retry)
    last = decide(POLICY, Stage.DETECT, 3, ValueError("secret"))
    assert isinstance(last, Failure)
    assert (last.code, last.message) == (Code.INTERNAL, "ValueError")


def test_busy_error_counts_no_attempt() -> None:
    busy = BusyError(Code.FETCH_BUSY, "8 files are being fetched")
    assert decide(POLICY, Stage.FETCH, 3, busy) == Retry(1000, 3)


@pytest.mark.parametrize(("retry_after_s", "delay_ms"), [(0, 2000), (12, 12_000), (600, 30_000)])
def test_outage_of_a_shared_server_counts_no_attempt(retry_after_s: float, delay_ms: int) -> None:
    error = AwayError(Code.ANTIVIRUS, "clamd does not answer", retry_after=retry_after_s)
    for attempt in (1, 3, 50):
        assert decide(POLICY, Stage.PERSIST, attempt, error) == Retry(delay_ms, attempt)


def test_lost_staged_bytes_are_fetched_again() -> None:
    assert decide(POLICY, Stage.PERSIST, 1, StagingLostError("id")) == NextStage(Stage.FETCH)


def test_source_that_is_gone_is_fetched_from_its_gateway_with_attempts_of_its_own() -> None:
    verdict = decide(POLICY, Stage.FETCH, 3, GoneError("mmg answers 410"))
    assert verdict == NextStage(Stage.FETCH, GoneSource(message="mmg answers 410"))


def test_gateway_is_asked_again_after_a_longer_pause_and_expires_the_attachment_in_the_end() -> None:
    error = ReuploadError(Code.FETCH_TIMEOUT, "mmg answers 410; WAHA did not answer in time")
    assert [decide(POLICY, Stage.FETCH, attempt, error) for attempt in (1, 2)] == [Retry(10_000, 2), Retry(20_000, 3)]
    failure = decide(POLICY, Stage.FETCH, 3, error)
    assert isinstance(failure, Failure)
    assert (failure.status, failure.code) == (Status.EXPIRED, Code.SOURCE_GONE)
    assert failure.message == error.message


def test_failed_fetch_keeps_no_inputs() -> None:
    """A replay of it may have a new source, which is tried before the gateway."""
    failed = Failure(status=Status.FAILED, stage=Stage.FETCH, attempts=3, code=Code.STAGING, message="")
    assert failure_inputs(failed, GoneSource(message="gone")).inputs is None


def test_refused_or_lost_claim_ends_the_message() -> None:
    assert decide(POLICY, Stage.FETCH, 1, SupersededError("id")) == Finished()
    assert decide(POLICY, Stage.FETCH, 1, ClaimRefusedError(Refusal.ENDED)) == Finished()
    assert decide(POLICY, Stage.FETCH, 1, ClaimRefusedError(Refusal.UNKNOWN)) == Finished()
    assert decide(POLICY, Stage.FETCH, 2, ClaimRefusedError(Refusal.HELD)) == Retry(2000, 2)


def test_only_status_failed_keeps_the_inputs_of_its_stage() -> None:
    inputs = Fetched(size=1, sha256="ab")
    failed = Failure(status=Status.FAILED, stage=Stage.DETECT, attempts=3, code=Code.STORAGE, message="")
    assert failure_inputs(failed, inputs).inputs == inputs.model_dump()
    assert failure_inputs(failed, {"size": 1}).inputs == {"size": 1}
    refused = failed.model_copy(update={"status": Status.REJECTED})
    assert failure_inputs(refused, inputs).inputs is None


def test_middleware_judges_an_exception_that_leaves_the_actor() -> None:
    delivery = Delivery(stage_message("a" * 32, Stage.FETCH), key="a", delivery_id=1, queue="fetch", crashes=0)
    Retries(POLICY).after_process_message(dramatiq.Broker(), delivery, exception=ValueError("secret"))
    assert delivery.verdict == Retry(2000, 2)


@pytest.mark.parametrize("in_batch", [True, False])
def test_middleware_keeps_a_verdict_and_leaves_the_batch_alone(in_batch: bool) -> None:
    delivery = Delivery(stage_message("a" * 32, Stage.FETCH), key="a", delivery_id=1, queue="fetch", crashes=0)
    delivery.in_batch = in_batch
    delivery.verdict = None if in_batch else Finished()
    Retries(POLICY).after_process_message(dramatiq.Broker(), delivery, exception=ValueError("secret"))
    assert delivery.verdict == (None if in_batch else Finished())
