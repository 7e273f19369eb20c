"""One stage of one attachment: the claim on it, the step, and what the logs say of it."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from functools import partial
from typing import Any, Required, TypedDict

import structlog
from dramatiq.middleware import CurrentMessage

from actors import passage, tracing
from actors.delivery import Again, Delivery, Forward
from actors.errands import offer_after
from actors.leases import LEASES
from actors.presence import ACTIVITY
from actors.retries import ClaimRefusedError, RetryPolicy, verdict_on
from pipeline.errors import BusyError, CancelledError, PacedError, PipelineError, SupersededError
from pipeline.meters import ATTEMPTS, ENDINGS, STAGE_SECONDS, WHOLE_SECONDS
from pipeline.models import Claim, Detected, Ending, Fetched, Model, Record, Refusal, Stage, Status, Validated
from pipeline.services import Services, services

INPUTS: dict[Stage, type[Model] | None] = {
    Stage.FETCH: None,
    Stage.DETECT: Fetched,
    Stage.VALIDATE: Detected,
    Stage.PERSIST: Validated,
    Stage.NOTIFY: Ending,
}
"""What each stage is given. Notify is given nothing where the catalogue's row says it all."""

STEPS: dict[Stage, Callable[[Services, Claim, Any], Model]] = {
    Stage.FETCH: Services.fetch,
    Stage.DETECT: Services.detect,
    Stage.VALIDATE: Services.validate,
    Stage.PERSIST: Services.persist,
    Stage.NOTIFY: Services.notify,
}

# A process that was stopped for longer than a heartbeat's silence may have been replaced: before it stores or announces
# anything, it looks whether the attachment is still its own.
CERTAIN_S = 5.0

log = structlog.get_logger()


def take(services: Services, media_id: str, *, takeover: bool = False, heir_of: str | None = None) -> Claim:
    """The claim on an attachment; see `Catalogue.claim`.

    Raises:
        ClaimRefusedError: it has ended, somebody works on it, or nobody knows it.
    """
    lease_s = services.settings.claim_lease_s
    claim = services.catalogue.claim(media_id, lease_s=lease_s, takeover=takeover, heir_of=heir_of)
    if isinstance(claim, Refusal):
        raise ClaimRefusedError(claim)
    return claim


def stage_inputs(stage: Stage, given: Model | dict[str, Any] | None) -> Model | None:
    """A stage's inputs, as they come from the stage before or as JSON from the belt or the catalogue."""
    model = INPUTS[stage]
    if model is None or given is None:
        return None
    return given if isinstance(given, Model) else model.model_validate(given)


def entrance(claim: Claim, stage: Stage, inputs: Model | None) -> tuple[Stage, Model | None]:
    """Where to start with a claim: at the stage asked for, but not before what the catalogue says is done.

    A stage whose inputs are nowhere to be had gives way to fetch, which finds the staged bytes if they are there.
    """
    if claim.record.status is not Status.RECEIVED and not isinstance(inputs, Ending):
        return Stage.NOTIFY, None
    inputs = inputs or stage_inputs(stage, claim.inputs)
    if inputs is None and stage not in {Stage.FETCH, Stage.NOTIFY}:
        return Stage.FETCH, None
    return stage, inputs


def perform(services: Services, claim: Claim, stage: Stage, inputs: Model | None, *, attempt: int) -> Model:
    """Runs one step and logs it. Whoever calls it tells the history if it raises: what follows is for them to say.

    Raises:
        PipelineError: as the step does.
    """
    passage.begin(claim, stage, attempt)
    record = services.catalogue.confirm(claim) if LEASES.age(claim.token) > CERTAIN_S else claim.record
    if record.cancelled_at is not None and stage is not Stage.NOTIFY:
        raise CancelledError
    started = time.perf_counter()
    with _measured(stage):
        result = STEPS[stage](services, claim, inputs)
    passage.went_well(claim)
    facts = {
        "id": claim.id,
        "session": claim.record.session,
        "stage": stage.value,
        "attempt": attempt,
        "ms": round((time.perf_counter() - started) * 1000, 1),
    }
    if stage is Stage.PERSIST and isinstance(result, Record):
        log.info("attachment stored", name=result.name, mime=result.mime, size=result.size, **facts)
    elif stage is Stage.NOTIFY and isinstance(result, Record):
        whole = _count_ending(services, result)
        code = {"code": result.error_code} if result.error_code else {}
        log.info("attachment finished", status=result.status.value, **code, whole_ms=whole, **facts)
    else:
        log.debug("stage done", **facts)
    return result


@contextmanager
def _measured(stage: Stage) -> Iterator[None]:
    started = time.perf_counter()
    try:
        yield
    except PacedError:  # no attempt
        raise
    except BaseException:
        ATTEMPTS.add(stage.value, "error")
        raise
    ATTEMPTS.add(stage.value, "done")
    STAGE_SECONDS.observe(time.perf_counter() - started, stage.value)


def _count_ending(services: Services, record: Record) -> int:
    """Counts an ending; returns the ms from received to finished."""
    whole = (record.finished_at or record.received_at) - record.received_at
    ENDINGS.add(record.kind or "unknown", record.status, record.error_code or "")
    if record.run == 0:  # a replay's time is that of the person who asked for it
        WHOLE_SECONDS.observe(whole / 1000, record.status)
    tracing.ended(record, services.catalogue.history)
    return whole


class Asked(TypedDict, total=False):
    """What a message asks for; see `actors.delivery.stage_message`. `attempt` counts from 1."""

    media_id: Required[str]
    attempt: int
    inputs: dict[str, Any] | Model
    silent: bool
    lost: int
    heir_of: str
    trail: dict[str, Any]


def run(stage: Stage, asked: Asked) -> None:
    """What an actor does: claims the attachment unless the stage before has, and performs its stage.

    The result goes into the delivery, for the chain: what an actor returns, Dramatiq would throw away.

    Raises:
        PipelineError: as the step does; the retry middleware makes a verdict of it.
    """
    delivery: Any = CurrentMessage.get_current_message()
    assert isinstance(delivery, Delivery)
    with ACTIVITY.of(delivery.key, stage):
        _run(stage, delivery, asked)


def _run(stage: Stage, delivery: Delivery, asked: Asked) -> None:
    tools = services()
    claim = delivery.claim or _first_claim(tools, delivery, asked)
    start, given = entrance(claim, stage, stage_inputs(stage, asked.get("inputs")))
    if start is not stage:
        delivery.verdict = Forward(start, given)
        return
    # What is stored may have been announced as that, and no receiver heeds another ending under the same event id.
    if isinstance(given, Ending) and (asked.get("silent") or claim.record.status is Status.STORED):
        given_up = delivery.result = tools.give_up(claim, given)
        _count_ending(tools, given_up)
        return
    try:
        delivery.result = perform(tools, claim, stage, given, attempt=delivery.attempt)
    except BaseException as error:
        _let_go(tools, delivery, error)
        raise
    delivery.offer = offer_after(tools, delivery.result) or delivery.offer
    if isinstance(delivery.result, Record):
        delivery.claim = claim.model_copy(update={"record": delivery.result})


def _first_claim(tools: Services, delivery: Delivery, asked: Asked) -> Claim:
    # A message that comes again after its worker died has a claim on its row that nobody will ever use.
    claim = take(tools, asked["media_id"], takeover=delivery.crashes > 0, heir_of=asked.get("heir_of"))
    delivery.claim = claim
    LEASES.add(claim.token)
    delivery.on_settled.append(partial(LEASES.drop, claim.token))
    claim.trail.resume(asked.get("trail", {}))
    inputs = asked.get("inputs")
    passage.taken_over(claim, inputs.stage if isinstance(inputs, Ending) else delivery.stage, delivery.crashes)
    record = claim.record
    log.info(
        "attachment started", id=claim.id, session=record.session, stage=delivery.actor_name, attempt=delivery.attempt
    )
    return claim


def _let_go(tools: Services, delivery: Delivery, error: BaseException) -> None:
    """Notes what went wrong, and frees the claim before another attempt: nobody need wait for the lease to run out.

    Where the claim was lost, nothing is left behind either.
    """
    if isinstance(error, SupersededError):
        with suppress(PipelineError):
            tools.forget(delivery.key)
        return
    policy = RetryPolicy(tools.settings.media_attempts, tools.settings.media_backoff_ms)
    verdict = verdict_on(policy, delivery, error)
    if delivery.claim is None:
        return
    passage.went_wrong(delivery.claim, passage.outcome_of(verdict, attempt=delivery.attempt), error)
    if isinstance(verdict, Again) and isinstance(error, PipelineError):
        with suppress(PipelineError):
            noted = None if isinstance(error, BusyError) else error
            tools.catalogue.release(delivery.claim, stage=delivery.stage, attempts=delivery.attempt, error=noted)
