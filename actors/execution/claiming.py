"""Claims an attachment before work on it starts, and finds the stage to resume at."""

from __future__ import annotations

from functools import partial
from typing import Any

import structlog

from actors.delivery import Delivery
from actors.execution.claims import CLAIM_REGISTRY
from actors.middleware.retries import ClaimRefusedError
from actors.observability import attempt_log
from pipeline.catalogue import SingleFlight
from pipeline.config.settings import Settings
from pipeline.intake_services import IntakeServices
from pipeline.models import Claim, Detected, Failure, Fetched, GoneSource, Model, Refusal, Stage, Status, Validated
from pipeline.services import Services

INPUTS: dict[Stage, type[Model]] = {
    Stage.FETCH: GoneSource,
    Stage.DETECT: Fetched,
    Stage.VALIDATE: Detected,
    Stage.PERSIST: Validated,
    Stage.NOTIFY: Failure,
}
"""The type of each stage's inputs. Fetch has some if the source is gone, so that the gateway is asked. Notify has none
for a stored attachment: the catalogue row says it all."""

log = structlog.get_logger()


def claim_attachment(
    services: IntakeServices,
    media_id: str,
    *,
    takeover: bool = False,
    previous_token: str | None = None,
    flight: SingleFlight | None = None,
) -> Claim:
    """Claims an attachment; see `Catalogue.claim`.

    Raises:
        ClaimRefusedError: it has ended, is held by another worker, or is unknown.
        PacedError: according to `flight` it waits for another attachment with the same content.
    """
    lease_s = services.settings.claim_lease_s
    claim = services.catalogue.claim(
        media_id, lease_s=lease_s, takeover=takeover, previous_token=previous_token, single_flight=flight
    )
    if isinstance(claim, Refusal):
        raise ClaimRefusedError(claim)
    return claim


def claim_delivery(services: Services, delivery: Delivery) -> Claim:
    """Claims the attachment of a delivery, registers the claim for renewal until the acknowledgement, and resumes the
    attempt log.

    Raises:
        ClaimRefusedError, PacedError: as `claim_attachment`.
    """
    args: Any = delivery.kwargs
    claim = claim_attachment(
        services,
        args["media_id"],
        takeover=delivery.crashes > 0,  # the claim of a dead worker is never released
        previous_token=args.get("heir_of"),
        flight=single_flight_option(services.settings) if delivery.stage is Stage.FETCH else None,
    )
    CLAIM_REGISTRY.add(claim.token)
    delivery.after_ack.append(partial(CLAIM_REGISTRY.drop, claim.token))
    claim.attempt_log.restore(args.get("trail", {}))
    inputs = args.get("inputs")
    attempt_log.record_crashes(claim, inputs.stage if isinstance(inputs, Failure) else delivery.stage, delivery.crashes)
    log_fields = {"session": claim.record.session, "stage": delivery.actor_name, "attempt": delivery.attempt}
    log.debug("attachment started", id=claim.id, **log_fields)
    return claim


def single_flight_option(settings: Settings, *, waits: bool = True) -> SingleFlight | None:
    """How a fetch shares the download of another attachment with the same content, as FETCH_ONCE says."""
    return None if settings.fetch_once == "off" else SingleFlight(anyone=settings.fetch_once == "all", waits=waits)


def stage_inputs(stage: Stage, inputs: Model | dict[str, Any] | None) -> Model | None:
    """A stage's inputs as a model, whether they come from the stage before or as JSON from Redis or the catalogue."""
    if inputs is None:
        return None
    return inputs if isinstance(inputs, Model) else INPUTS[stage].model_validate(inputs)


def resume_point(claim: Claim, stage: Stage, inputs: Model | None) -> tuple[Stage, Model | None]:
    """The stage to run and its inputs: the requested stage, but none that the catalogue has as done.

    A stage whose inputs are lost is replaced by fetch, which finds the staged bytes if they are still there.
    """
    if claim.record.status is not Status.RECEIVED and not isinstance(inputs, Failure):
        return Stage.NOTIFY, None
    if inputs is None and stage is not Stage.FETCH:  # those in the row are of a later stage
        inputs = stage_inputs(stage, claim.inputs)
    if inputs is None and stage not in {Stage.FETCH, Stage.NOTIFY}:
        return Stage.FETCH, None
    return stage, inputs
