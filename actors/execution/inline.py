"""The five steps in the caller's thread: the fallback when there is no queue."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress

import structlog

from actors.delivery import NextStage
from actors.execution.claims import CLAIM_REGISTRY
from actors.execution.executor import claim_attachment, resume_point, run_step, single_flight_option
from actors.middleware.retries import ClaimRefusedError, RetryPolicy, decide, ending_inputs
from actors.middleware.routing import next_stage
from actors.observability import attempt_log
from pipeline.errors import PipelineError, SupersededError
from pipeline.history import HistoryOutcome, failure_outcome
from pipeline.metrics import RETRIES
from pipeline.models import Claim, Failure, Model, Record, Stage
from pipeline.services import Services

log = structlog.get_logger()


def run_inline(services: Services, media_id: str) -> Record | None:
    """Runs the attachment to its end, here and now; None if a worker has it or had it.

    A step that may be tried again is left to the workers: the caller is a listener and must not wait for a backoff.
    The returned record is unfinished then, and the sweep puts it on the belt.
    """
    try:
        claim = claim_attachment(services, media_id, flight=single_flight_option(services.settings, waits=False))
    except ClaimRefusedError:
        return services.catalogue.get(media_id)
    try:
        with renewed_claim(services, claim):
            return _run(services, claim)
    except SupersededError:
        services.discard_staged(media_id)
        return services.catalogue.get(media_id)


@contextmanager
def renewed_claim(services: Services, claim: Claim) -> Iterator[None]:
    """Renews the claim for as long as the block runs: in a listener's process nothing else does."""
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


def _run(services: Services, claim: Claim) -> Record | None:
    stage, inputs = resume_point(claim, Stage.FETCH, None)
    while True:
        try:
            result = run_step(services, claim, stage, inputs, attempt=1)
        except SupersededError:
            raise
        except PipelineError as error:
            ending = _ending(services, claim, stage, inputs, error)
            if ending is None:
                return services.catalogue.get(claim.id)
            stage, inputs = Stage.NOTIFY, ending
            continue
        if isinstance(result, Record):
            claim = claim.model_copy(update={"record": result})
        onward = next_stage(stage, result)
        if not isinstance(onward, NextStage):
            return onward.record
        stage, inputs = onward.stage, onward.inputs


def _ending(
    services: Services, claim: Claim, stage: Stage, inputs: Model | None, error: PipelineError
) -> Failure | None:
    """How it ends for good, or None if a worker is to try again."""
    decision = decide(RetryPolicy(attempts=2), stage, 1, error)
    if isinstance(decision, Failure) and stage is not Stage.NOTIFY:
        attempt_log.record_failure(claim, failure_outcome(decision.status, decision.code), error)
        log.warning("attachment refused", id=claim.id, stage=stage.value, code=str(error.code), error=error.message)
        return ending_inputs(decision, inputs)
    left = HistoryOutcome.BACK if isinstance(decision, NextStage) else HistoryOutcome.RETRY
    attempt_log.record_failure(claim, left, error)
    RETRIES.add(stage.value, error.code)
    log.warning("left to the workers", id=claim.id, stage=stage.value, code=str(error.code), error=error.message)
    services.catalogue.release(claim, stage=stage, attempts=1, error=error)
    return None
