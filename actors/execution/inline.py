"""Runs the five steps in the caller's thread: the fallback while Redis is away."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress

import structlog

from actors.delivery import NextStage
from actors.execution.claiming import claim_attachment, resume_point, single_flight_option
from actors.execution.claims import CLAIM_REGISTRY
from actors.execution.executor import run_step
from actors.middleware.retries import ClaimRefusedError, RetryPolicy, decide, failure_inputs
from actors.middleware.routing import next_stage
from actors.observability import attempt_log
from pipeline.errors import GoneError, PipelineError, SupersededError
from pipeline.history import HistoryOutcome, failure_outcome
from pipeline.intake_services import IntakeServices
from pipeline.metrics import RETRIES
from pipeline.models import Claim, Failure, Model, Record, Stage
from pipeline.services import Services

# With a second attempt left, `decide` answers Retry to an error that may be retried. It is not made here: the workers
# retry, under the policy of their settings.
RETRIES_BY_WORKERS = RetryPolicy(attempts=2)

log = structlog.get_logger()


def run_inline(services: Services, media_id: str) -> Record | None:
    """Runs an attachment to its end; None if a worker has deleted it meanwhile.

    A step that may be retried is left to the workers, because the caller is a listener and must not wait for a backoff.
    The returned record is unfinished then, and the requeue scan enqueues it when Redis is back.
    """
    try:
        claim = claim_attachment(services, media_id, flight=single_flight_option(services.settings, waits=False))
    except ClaimRefusedError:
        return services.catalogue.get(media_id)
    try:
        with renewed_claim(services, claim):
            return _run_remaining_steps(services, claim)
    except SupersededError:
        services.discard_staged(media_id)
        return services.catalogue.get(media_id)


@contextmanager
def renewed_claim(services: IntakeServices, claim: Claim) -> Iterator[None]:
    """Renews the claim while the block runs: a listener's process has no maintenance task that does."""
    lease_s = services.settings.claim_lease_s
    done = threading.Event()

    def renew() -> None:
        while not done.wait(lease_s / 3):
            with suppress(PipelineError):
                services.catalogue.renew([claim.token], lease_s=lease_s)

    CLAIM_REGISTRY.add(claim.token)
    threading.Thread(target=renew, name="claim", daemon=True).start()
    try:
        yield
    finally:
        done.set()
        CLAIM_REGISTRY.drop(claim.token)


def _run_remaining_steps(services: Services, claim: Claim) -> Record | None:
    """Calls `executor.run_step` for each stage from the one to resume at, without batches."""
    stage, inputs = resume_point(claim, Stage.FETCH, None)
    while True:
        try:
            result = run_step(services, claim, stage, inputs, attempt=1)
        except SupersededError:
            raise
        except PipelineError as error:
            failure = _failure(services, claim, stage, inputs, error)
            if failure is None:
                return services.catalogue.get(claim.id)
            stage, inputs = Stage.NOTIFY, failure
            continue
        if isinstance(result, Record):
            claim = claim.model_copy(update={"record": result})
        verdict = next_stage(stage, result)
        if not isinstance(verdict, NextStage):
            return verdict.record
        stage, inputs = verdict.stage, verdict.inputs


def _failure(
    services: Services, claim: Claim, stage: Stage, inputs: Model | None, error: PipelineError
) -> Failure | None:
    """The failure that ends the attachment after an error; None if it is left to the workers for a retry."""
    decision = decide(RETRIES_BY_WORKERS, stage, 1, error)
    if isinstance(decision, Failure) and stage is not Stage.NOTIFY:
        attempt_log.record_failure(claim, failure_outcome(decision.status, decision.code), error)
        log.warning("attachment rejected", id=claim.id, stage=stage.value, code=str(error.code), error=error.message)
        return failure_inputs(decision, inputs)
    outcome = HistoryOutcome.BACK if isinstance(decision, NextStage) else HistoryOutcome.RETRY
    outcome = HistoryOutcome.ASKS if isinstance(error, GoneError) else outcome
    attempt_log.record_failure(claim, outcome, error)
    RETRIES.add(stage.value, error.code)
    log.warning("left to the workers", id=claim.id, stage=stage.value, code=str(error.code), error=error.message)
    services.catalogue.release(claim, stage=stage, attempts=1, error=error)
    return None
