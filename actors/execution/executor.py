"""One stage of several attachments at once: the claims on them, the step, and what the logs say of it."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from functools import partial
from typing import Any, NamedTuple, Required, TypedDict

import structlog
from dramatiq.middleware import CurrentMessage

from actors.delivery import Delivery, NextStage, Retry
from actors.execution.claims import CLAIM_REGISTRY
from actors.middleware.retries import ClaimRefusedError, RetryPolicy, verdict_on
from actors.observability import attempt_log, tracing
from actors.observability.worker_info import ACTIVITY
from actors.redis_queue.preview_jobs import preview_job_after
from pipeline.catalogue import SingleFlight
from pipeline.config.settings import Settings
from pipeline.errors import BusyError, CancelledError, PacedError, PipelineError, SupersededError
from pipeline.metrics import ATTEMPTS, RESULTS, STAGE_SECONDS, TOTAL_SECONDS
from pipeline.models import Claim, Detected, Failure, Fetched, Model, Record, Refusal, Stage, Status, Validated
from pipeline.sandbox import StillRunning
from pipeline.services import Services, services

INPUTS: dict[Stage, type[Model] | None] = {
    Stage.FETCH: None,
    Stage.DETECT: Fetched,
    Stage.VALIDATE: Detected,
    Stage.PERSIST: Validated,
    Stage.NOTIFY: Failure,
}
"""What each stage is given. Notify is given nothing where the catalogue's row says it all."""

NO_ATTEMPT = (PacedError, StillRunning)
"""What is raised by a step that has not begun, or is to begin anew."""

Work = Sequence[tuple[Claim, Any]]
Found = Model | BaseException
"""What a step makes of one attachment: its result, or what it raised."""


def _each(step: Callable[[Services, Claim, Any], Model]) -> Callable[[Services, Work], list[Found]]:
    def steps(services: Services, work: Work) -> list[Found]:
        return [_found(step, services, claim, inputs) for claim, inputs in work]

    return steps


def _found(step: Callable[[Services, Claim, Any], Model], services: Services, claim: Claim, inputs: Any) -> Found:
    try:
        return step(services, claim, inputs)
    except Exception as error:  # noqa: BLE001  (each attachment's error is its own)
        return error


STEPS: dict[Stage, Callable[[Services, Work], Sequence[Found]]] = {
    Stage.FETCH: _each(Services.fetch),
    Stage.DETECT: Services.detect_many,
    Stage.VALIDATE: _each(Services.validate),
    Stage.PERSIST: Services.persist_many,
    Stage.NOTIFY: Services.notify_many,
}

# A process that was stopped for longer than a heartbeat's silence may have been replaced: before it stores or announces
# anything, it looks whether the attachment is still its own.
RECHECK_CLAIM_S = 5.0

log = structlog.get_logger()


def claim_attachment(
    services: Services,
    media_id: str,
    *,
    takeover: bool = False,
    previous_token: str | None = None,
    flight: SingleFlight | None = None,
) -> Claim:
    """The claim on an attachment; see `Catalogue.claim`.

    Raises:
        ClaimRefusedError: it has ended, somebody works on it, or nobody knows it.
        PacedError: by its `flight` it waits for another with the same content.
    """
    lease_s = services.settings.claim_lease_s
    claim = services.catalogue.claim(
        media_id, lease_s=lease_s, takeover=takeover, previous_token=previous_token, single_flight=flight
    )
    if isinstance(claim, Refusal):
        raise ClaimRefusedError(claim)
    return claim


def single_flight_option(settings: Settings, *, waits: bool = True) -> SingleFlight | None:
    """How far what is to be fetched relies on others with the same content: FETCH_ONCE."""
    return None if settings.fetch_once == "off" else SingleFlight(anyone=settings.fetch_once == "all", waits=waits)


def stage_inputs(stage: Stage, given: Model | dict[str, Any] | None) -> Model | None:
    """A stage's inputs, as they come from the stage before or as JSON from the belt or the catalogue."""
    model = INPUTS[stage]
    if model is None or given is None:
        return None
    return given if isinstance(given, Model) else model.model_validate(given)


def resume_point(claim: Claim, stage: Stage, inputs: Model | None) -> tuple[Stage, Model | None]:
    """Where to start with a claim: at the stage asked for, but not before what the catalogue says is done.

    A stage whose inputs are nowhere to be had gives way to fetch, which finds the staged bytes if they are there.
    """
    if claim.record.status is not Status.RECEIVED and not isinstance(inputs, Failure):
        return Stage.NOTIFY, None
    inputs = inputs or stage_inputs(stage, claim.inputs)
    if inputs is None and stage not in {Stage.FETCH, Stage.NOTIFY}:
        return Stage.FETCH, None
    return stage, inputs


class Task(NamedTuple):
    """An attachment at one stage: the claim on it, what the stage is given, which attempt it is."""

    claim: Claim
    inputs: Model | None
    attempt: int


def run_step(services: Services, claim: Claim, stage: Stage, inputs: Model | None, *, attempt: int) -> Model:
    """Runs one step of one attachment and logs it.

    Whoever calls it tells the history if it raises: what follows is for them to say.

    Raises:
        PipelineError: as the step does.
    """
    [found] = run_steps(services, stage, [Task(claim, inputs, attempt)])
    if isinstance(found, BaseException):
        raise found
    return found


def run_steps(services: Services, stage: Stage, tasks: Sequence[Task]) -> list[Found]:
    """Runs one step of several attachments; what becomes of each, in their order."""
    started = time.perf_counter()
    found: list[Found | None] = [_begin(services, stage, task) for task in tasks]
    fit = [number for number, fault in enumerate(found) if fault is None]
    if fit:
        work = [(tasks[number].claim, tasks[number].inputs) for number in fit]
        for number, result in zip(fit, _step(services, stage, work), strict=True):
            found[number] = result
    seconds = time.perf_counter() - started
    outcomes = [outcome for outcome in found if outcome is not None]
    _measure(stage, [outcomes[number] for number in fit], seconds)
    for task, outcome in zip(tasks, outcomes, strict=True):
        if not isinstance(outcome, BaseException):
            attempt_log.record_success(task.claim)
            _log(services, stage, task, outcome, ms=round(seconds * 1000, 1))
    return outcomes


def _begin(services: Services, stage: Stage, task: Task) -> PipelineError | None:
    """Why the step must not be run; None if it may."""
    claim = task.claim
    attempt_log.start_attempt(claim, stage, task.attempt)
    record = claim.record
    if CLAIM_REGISTRY.age(claim.token) > RECHECK_CLAIM_S:
        try:
            record = services.catalogue.confirm(claim)
        except PipelineError as error:
            return error
    return CancelledError() if record.cancelled_at is not None and stage is not Stage.NOTIFY else None


def _step(services: Services, stage: Stage, work: Work) -> Sequence[Found]:
    try:
        return STEPS[stage](services, work)
    except Exception as error:  # noqa: BLE001  (a fault of ours: whose it is shows when each goes by itself)
        if len(work) == 1:
            return [error]
    return [_step(services, stage, [one])[0] for one in work]


def _measure(stage: Stage, outcomes: Sequence[Found], seconds: float) -> None:
    wrong = sum(isinstance(outcome, BaseException) and not isinstance(outcome, NO_ATTEMPT) for outcome in outcomes)
    done = sum(not isinstance(outcome, BaseException) for outcome in outcomes)
    if done:
        ATTEMPTS.add(stage.value, "done", n=done)
        STAGE_SECONDS.observe(seconds, stage.value, n=done)
    if wrong:
        ATTEMPTS.add(stage.value, "error", n=wrong)


def _log(services: Services, stage: Stage, task: Task, result: Model, *, ms: float) -> None:
    """One line for an attachment that has ended; the stages on the way to that are told at the level debug."""
    claim = task.claim
    facts = {
        "id": claim.id,
        "session": claim.record.session,
        "stage": stage.value,
        "attempt": task.attempt,
        "ms": ms,
    }
    if stage is Stage.NOTIFY and isinstance(result, Record):
        whole = _count_ending(services, result)
        code = {"code": result.error_code} if result.error_code else {}
        what = {"name": result.name, "mime": result.mime, "size": result.size}
        log.info("attachment finished", status=result.status.value, **code, whole_ms=whole, **what, **facts)
    elif stage is Stage.PERSIST:
        log.debug("attachment stored", **facts)
    else:
        log.debug("stage done", **facts)


def _count_ending(services: Services, record: Record) -> int:
    """Counts an ending; returns the ms from received to finished."""
    whole = (record.finished_at or record.received_at) - record.received_at
    RESULTS.add(record.kind or "unknown", record.status, record.error_code or "")
    if record.run == 0:  # a replay's time is that of the person who asked for it
        TOTAL_SECONDS.observe(whole / 1000, record.status)
    tracing.record_result(record, services.catalogue.history)
    return whole


class MessageArgs(TypedDict, total=False):
    """What a message asks for; see `actors.delivery.stage_message`. `attempt` counts from 1."""

    media_id: Required[str]
    attempt: int
    inputs: dict[str, Any] | Model
    silent: bool
    lost: int
    heir_of: str
    trail: dict[str, Any]


def run(stage: Stage) -> None:
    """What an actor does: performs its stage of the attachment.

    The result goes into the delivery, for the chain: what an actor returns, Dramatiq would throw away.

    Raises:
        PipelineError: as the step does; the retry middleware makes a verdict of it.
    """
    delivery: Any = CurrentMessage.get_current_message()
    assert isinstance(delivery, Delivery)
    with ACTIVITY.working_on([delivery.key], stage):
        [error] = run_stage(stage, [delivery])
        if error is not None:
            raise error


def run_stage(stage: Stage, deliveries: Sequence[Delivery]) -> list[BaseException | None]:
    """Performs a stage of several deliveries, and claims what has no claim yet; what each has raised, in their order.

    A result goes into its delivery; one whose stage is not the one to go on with has a verdict afterwards.
    """
    tools = services()
    raised: list[BaseException | None] = [None] * len(deliveries)
    tasks: list[tuple[int, Task]] = []
    for number, delivery in enumerate(deliveries):
        try:
            if task := _task(tools, stage, delivery):
                tasks.append((number, task))
        except Exception as error:  # noqa: BLE001  (each attachment's error is its own)
            raised[number] = error
    found = run_steps(tools, stage, [task for _, task in tasks]) if tasks else []
    for (number, _), outcome in zip(tasks, found, strict=True):
        try:
            raised[number] = _take_in(tools, stage, deliveries[number], outcome)
        except Exception as error:  # noqa: BLE001  (the same)
            raised[number] = error
    return raised


def _take_in(tools: Services, stage: Stage, delivery: Delivery, outcome: Found) -> BaseException | None:
    """Notes what the step made of a delivery; returns what it has raised."""
    if isinstance(outcome, StillRunning):
        delivery.verdict = _once_more(stage, delivery)
        return None
    if isinstance(outcome, BaseException):
        _let_go(tools, delivery, outcome)
        return outcome
    _note(tools, delivery, outcome)
    return None


def _task(tools: Services, stage: Stage, delivery: Delivery) -> Task | None:
    """What is to be done for a delivery; None if this stage has nothing to do for it."""
    asked: Any = delivery.kwargs
    claim = delivery.claim = delivery.claim or _first_claim(tools, delivery, asked)
    start, given = resume_point(claim, stage, stage_inputs(stage, asked.get("inputs")))
    if start is not stage:
        delivery.verdict = NextStage(start, given)
        return None
    # What is stored may have been announced as that, and no receiver heeds another ending under the same event id.
    if isinstance(given, Failure) and (asked.get("silent") or claim.record.status is Status.STORED):
        given_up = delivery.result = tools.finish_unannounced(claim, given)
        _count_ending(tools, given_up)
        return None
    return Task(claim, given, delivery.attempt)


def _once_more(stage: Stage, delivery: Delivery) -> NextStage:
    """The same stage again, for the crew: others took too long."""
    asked = delivery.kwargs
    inputs = stage_inputs(stage, asked.get("inputs"))
    return NextStage(stage, inputs, silent=bool(asked.get("silent")), lost=delivery.lost)


def _note(tools: Services, delivery: Delivery, result: Model) -> None:
    delivery.result = result
    delivery.preview_job = preview_job_after(tools, result) or delivery.preview_job
    if isinstance(result, Record):
        assert delivery.claim is not None
        delivery.claim = delivery.claim.model_copy(update={"record": result})


def _first_claim(tools: Services, delivery: Delivery, asked: MessageArgs) -> Claim:
    # A message that comes again after its worker died has a claim on its row that nobody will ever use.
    flight = single_flight_option(tools.settings) if delivery.stage is Stage.FETCH else None
    claim = claim_attachment(
        tools, asked["media_id"], takeover=delivery.crashes > 0, previous_token=asked.get("heir_of"), flight=flight
    )
    CLAIM_REGISTRY.add(claim.token)
    delivery.after_ack.append(partial(CLAIM_REGISTRY.drop, claim.token))
    claim.attempt_log.restore(asked.get("trail", {}))
    inputs = asked.get("inputs")
    attempt_log.record_crashes(claim, inputs.stage if isinstance(inputs, Failure) else delivery.stage, delivery.crashes)
    log.debug(
        "attachment started",
        id=claim.id,
        session=claim.record.session,
        stage=delivery.actor_name,
        attempt=delivery.attempt,
    )
    return claim


def _let_go(tools: Services, delivery: Delivery, error: BaseException) -> None:
    """Notes what went wrong, and frees the claim before another attempt: nobody need wait for the lease to run out.

    Where the claim was lost, nothing is left behind either.
    """
    if isinstance(error, SupersededError):
        with suppress(PipelineError):
            tools.discard_staged(delivery.key)
        return
    policy = RetryPolicy(tools.settings.media_attempts, tools.settings.media_backoff_ms)
    verdict = verdict_on(policy, delivery, error)
    if delivery.claim is None:
        return
    attempt_log.record_failure(delivery.claim, attempt_log.history_outcome(verdict, attempt=delivery.attempt), error)
    if isinstance(verdict, Retry) and isinstance(error, PipelineError):
        with suppress(PipelineError):
            noted = None if isinstance(error, BusyError) else error
            tools.catalogue.release(delivery.claim, stage=delivery.stage, attempts=delivery.attempt, error=noted)
