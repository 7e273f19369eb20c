"""Runs one stage of several attachments at once: claims, step, attempt log, metrics and the verdict on each.

`run_stage` is the entry for deliveries: it claims them, calls `run_steps` and sets their verdicts. `run_steps` calls
the step and logs the attempts; `run_step` does so for one attachment, for callers that hold a claim and no message.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from typing import Any, NamedTuple

import structlog

from actors.delivery import Delivery, NextStage, Retry
from actors.execution.claiming import claim_delivery, resume_point, stage_inputs
from actors.execution.claims import CLAIM_REGISTRY
from actors.middleware.retries import RetryPolicy, set_verdict
from actors.middleware.routing import next_stage
from actors.observability import attempt_log, tracing
from actors.observability.worker_info import ACTIVITY
from actors.redis_queue.preview_jobs import preview_job_after
from pipeline.errors import BusyError, CancelledError, PacedError, PipelineError, SupersededError
from pipeline.metrics import ATTEMPTS, RESULTS, STAGE_SECONDS, TOTAL_SECONDS
from pipeline.models import Claim, Failure, Model, Record, Stage, Status
from pipeline.sandbox import StillRunning
from pipeline.services import Services
from pipeline.services import services as process_services

# A process that was suspended may have been replaced meanwhile. A claim that is older than this is checked again before
# the step stores or announces anything; 5 s is far less than the silence after which a worker counts as dead.
RECHECK_CLAIM_S = 5.0

NOT_COUNTED = (PacedError, StillRunning)
"""Outcomes of a step that has not started, or is to start again: they count as no attempt."""

StepInputs = Sequence[tuple[Claim, Any]]
StepOutcome = Model | BaseException
"""What a step returns for one attachment: its result, or the error that it raised."""


def _one_by_one(step: Callable[[Services, Claim, Any], Model]) -> Callable[[Services, StepInputs], list[StepOutcome]]:
    def steps(services: Services, work: StepInputs) -> list[StepOutcome]:
        return [_outcome(step, services, claim, inputs) for claim, inputs in work]

    return steps


def _outcome(
    step: Callable[[Services, Claim, Any], Model], services: Services, claim: Claim, inputs: Any
) -> StepOutcome:
    try:
        return step(services, claim, inputs)
    except Exception as error:  # noqa: BLE001  (an error concerns one attachment, not the batch)
        return error


STEPS: dict[Stage, Callable[[Services, StepInputs], Sequence[StepOutcome]]] = {
    Stage.FETCH: _one_by_one(Services.fetch),
    Stage.DETECT: Services.detect_many,
    Stage.VALIDATE: _one_by_one(Services.validate),
    Stage.PERSIST: Services.persist_many,
    Stage.NOTIFY: Services.notify_many,
}

log = structlog.get_logger()


class Task(NamedTuple):
    """An attachment at one stage: its claim, the stage's inputs, and the number of the attempt."""

    claim: Claim
    inputs: Model | None
    attempt: int


# ---- deliveries


def run_stage(stage: Stage, deliveries: Sequence[Delivery]) -> None:
    """Runs a stage of several deliveries and gives each its verdict. Claims those that have no claim yet.

    An error concerns its own delivery only. A delivery whose stage is not the one to resume at gets the right stage as
    its verdict.
    """
    services = process_services()
    with ACTIVITY.working_on([delivery.key for delivery in deliveries], stage):
        tasks: list[tuple[Delivery, Task]] = []
        for delivery in deliveries:
            try:
                if task := _prepare(services, stage, delivery):
                    tasks.append((delivery, task))
            except Exception as error:  # noqa: BLE001  (an error concerns one attachment, not the batch)
                set_verdict(RetryPolicy.of(services.settings), delivery, error)
        outcomes = run_steps(services, stage, [task for _, task in tasks]) if tasks else []
        for (delivery, _), outcome in zip(tasks, outcomes, strict=True):
            try:
                _conclude(services, stage, delivery, outcome)
            except Exception as error:  # noqa: BLE001  (the same)
                set_verdict(RetryPolicy.of(services.settings), delivery, error)


def _prepare(services: Services, stage: Stage, delivery: Delivery) -> Task | None:
    """The task for a delivery; None if it has its verdict without the step."""
    args: Any = delivery.kwargs
    claim = delivery.claim = delivery.claim or claim_delivery(services, delivery)
    start, inputs = resume_point(claim, stage, stage_inputs(stage, args.get("inputs")))
    if start is not stage:
        delivery.verdict = NextStage(start, inputs)
        return None
    # `stored` may have been announced already, and receivers ignore a second event with the same id.
    if isinstance(inputs, Failure) and (args.get("silent") or claim.record.status is Status.STORED):
        record = services.finish_unannounced(claim, inputs)
        _count_result(services, record)
        delivery.verdict = next_stage(stage, record)
        return None
    return Task(claim, inputs, delivery.attempt)


def _conclude(services: Services, stage: Stage, delivery: Delivery, outcome: StepOutcome) -> None:
    """Turns the outcome of a step into the verdict on its delivery."""
    if isinstance(outcome, StillRunning):  # this file, or one before it, is still being decoded: its stage runs again
        inputs = stage_inputs(stage, delivery.kwargs.get("inputs"))
        silent = bool(delivery.kwargs.get("silent"))
        delivery.verdict = NextStage(stage, inputs, silent=silent, lost=delivery.lost)
    elif isinstance(outcome, BaseException):
        _fail(services, delivery, outcome)
    else:
        delivery.result = outcome
        delivery.preview_request = preview_job_after(services, outcome) or delivery.preview_request
        if isinstance(outcome, Record):
            assert delivery.claim is not None
            delivery.claim = delivery.claim.model_copy(update={"record": outcome})
        delivery.verdict = next_stage(stage, outcome)


def _fail(services: Services, delivery: Delivery, error: BaseException) -> None:
    """Gives the verdict on an error of the step, notes the attempt, and releases the claim before a retry.

    Without the release the retry would wait for the lease to end. After a lost claim the staged bytes are deleted.
    """
    verdict = set_verdict(RetryPolicy.of(services.settings), delivery, error)
    if isinstance(error, SupersededError):
        with suppress(PipelineError):
            services.discard_staged(delivery.key)
        return
    if delivery.claim is None:
        return
    attempt_log.record_failure(delivery.claim, attempt_log.history_outcome(verdict, attempt=delivery.attempt), error)
    if isinstance(verdict, Retry) and isinstance(error, PipelineError):
        with suppress(PipelineError):
            stored_error = None if isinstance(error, BusyError) else error
            services.catalogue.release(
                delivery.claim, stage=delivery.stage, attempts=delivery.attempt, error=stored_error
            )


# ---- steps


def run_step(services: Services, claim: Claim, stage: Stage, inputs: Model | None, *, attempt: int) -> Model:
    """Runs one step of one attachment and logs its success. The caller logs a failure, because it decides what follows.

    Raises:
        PipelineError: as the step does.
    """
    [outcome] = run_steps(services, stage, [Task(claim, inputs, attempt)])
    if isinstance(outcome, BaseException):
        raise outcome
    return outcome


def run_steps(services: Services, stage: Stage, tasks: Sequence[Task]) -> list[StepOutcome]:
    """Runs one step of several attachments; returns the outcome of each, in their order."""
    started = time.perf_counter()
    outcomes: list[StepOutcome | None] = [_error_before_step(services, stage, task) for task in tasks]
    ready = [number for number, error in enumerate(outcomes) if error is None]
    if ready:
        work = [(tasks[number].claim, tasks[number].inputs) for number in ready]
        for number, outcome in zip(ready, _call_step(services, stage, work), strict=True):
            outcomes[number] = outcome
    seconds = time.perf_counter() - started
    completed = [outcome for outcome in outcomes if outcome is not None]
    _measure(stage, [completed[number] for number in ready], seconds)
    for task, outcome in zip(tasks, completed, strict=True):
        if not isinstance(outcome, BaseException):
            attempt_log.record_success(task.claim, outcome)
            _log(services, stage, task, outcome, ms=round(seconds * 1000, 1))
    return completed


def _error_before_step(services: Services, stage: Stage, task: Task) -> PipelineError | None:
    """Starts the attempt in the attempt log; returns the error that keeps the step from running, None if it may run."""
    claim = task.claim
    attempt_log.record_start(claim, stage, task.attempt)
    record = claim.record
    if CLAIM_REGISTRY.age(claim.token) > RECHECK_CLAIM_S:
        try:
            record = services.catalogue.confirm(claim)
        except PipelineError as error:
            return error
    return CancelledError() if record.cancelled_at is not None and stage is not Stage.NOTIFY else None


def _call_step(services: Services, stage: Stage, work: StepInputs) -> Sequence[StepOutcome]:
    """Calls the step in STEPS, and after a bug in it once more for each attachment."""
    try:
        return STEPS[stage](services, work)
    except Exception as error:  # noqa: BLE001  (a bug: one by one shows which attachment it concerns)
        if len(work) == 1:
            return [error]
    return [_call_step(services, stage, [item])[0] for item in work]


def _measure(stage: Stage, outcomes: Sequence[StepOutcome], seconds: float) -> None:
    failed = sum(isinstance(outcome, BaseException) and not isinstance(outcome, NOT_COUNTED) for outcome in outcomes)
    done = sum(not isinstance(outcome, BaseException) for outcome in outcomes)
    if done:
        ATTEMPTS.add(stage.value, "done", n=done)
        STAGE_SECONDS.observe(seconds, stage.value, n=done)
    if failed:
        ATTEMPTS.add(stage.value, "error", n=failed)


def _log(services: Services, stage: Stage, task: Task, result: Model, *, ms: float) -> None:
    """Logs a finished attachment at the level info, the stages before that at the level debug."""
    claim = task.claim
    log_fields = {
        "id": claim.id,
        "session": claim.record.session,
        "stage": stage.value,
        "attempt": task.attempt,
        "ms": ms,
    }
    if stage is Stage.NOTIFY and isinstance(result, Record):
        total_ms = _count_result(services, result)
        code = {"code": result.error_code} if result.error_code else {}
        file = {"name": result.name, "mime": result.mime, "size": result.size}
        log.info("attachment finished", status=result.status.value, **code, whole_ms=total_ms, **file, **log_fields)
    elif stage is Stage.PERSIST:
        log.debug("attachment stored", **log_fields)
    else:
        log.debug("stage done", **log_fields)


def _count_result(services: Services, record: Record) -> int:
    """Counts a finished attachment; returns the ms from received to finished."""
    total_ms = (record.finished_at or record.received_at) - record.received_at
    RESULTS.add(record.kind or "unknown", record.status, record.error_code or "")
    if record.run == 0:  # the time of a replay depends on when it was requested
        TOTAL_SECONDS.observe(total_ms / 1000, record.status)
    tracing.record_result(record, services.catalogue.history)
    return total_ms
