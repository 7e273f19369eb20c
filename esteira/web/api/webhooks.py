"""`/webhooks`: shows the endpoints and their deliveries of all sessions, and redelivers."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from fastapi import APIRouter, Depends, Query, Response
from pydantic import BaseModel, ConfigDict, Field, StrictBool, model_validator

from actors.operations.audit import AuditEntry
from actors.webhooks.admin import endpoints_json, newest_deliveries, redeliver, redeliverable_ids
from esteira.web.api.headers import NoStore
from esteira.web.api.records import DEFAULT_PAGE, MAX_PAGE, Since, each_parameter_once
from esteira.web.auth.audited import audited
from esteira.web.auth.dependencies import SystemController, SystemReader, needs
from esteira.web.intake.json_body import CleanText, JsonBody
from pipeline.catalogue import Action, DeliveryFilters, DeliveryRecord, DeliveryStatus
from pipeline.security.roles import Permission
from pipeline.services import services

MAX_IDS = 1000  # redelivered by one call
MAX_BODY_BYTES = 256 * 1024  # for so many ids
UNFINISHED = (DeliveryStatus.UNDELIVERED, DeliveryStatus.PENDING)

router = APIRouter(dependencies=[NoStore], tags=["webhooks"])


class _DeliveryFilters(DeliveryFilters):
    model_config = ConfigDict(extra="forbid", hide_input_in_errors=True)

    since: Since = None

    def filters(self) -> DeliveryFilters:
        """The filters alone, without what subclasses add."""
        return DeliveryFilters(**{name: getattr(self, name) for name in DeliveryFilters.model_fields})


class DeliveriesQuery(_DeliveryFilters):
    """The parameters of `GET /webhooks/deliveries`. Without `status`: pending and undelivered."""

    limit: int = Field(default=DEFAULT_PAGE, ge=1, le=MAX_PAGE, description="The most deliveries of the answer.")


class RedeliverRequest(_DeliveryFilters):
    """Either `ids` of deliveries, or filters. `dry_run` only counts."""

    ids: list[CleanText] | None = Field(default=None, max_length=MAX_IDS)
    dry_run: StrictBool = False

    @model_validator(mode="before")
    @classmethod
    def _check_fields(cls, fields: Any) -> Any:
        if not isinstance(fields, dict):
            raise ValueError("a redelivery is a JSON object")  # noqa: TRY004  pydantic reports a ValueError
        for name, value in fields.items():
            if value is None or value == "":
                raise ValueError(f"{name} is empty: leave it out")
        if "ids" in fields and fields.keys() & DeliveryFilters.model_fields.keys():
            raise ValueError("give ids or filters, not both")
        return fields

    @model_validator(mode="after")
    def _check_status(self) -> RedeliverRequest:
        if self.status not in (None, *UNFINISHED):
            raise ValueError("status: only undelivered or pending deliveries can be redelivered")
        return self

    def audit_target(self) -> dict[str, Any] | None:
        """What the audit log says about this call; None for a dry run, which changes nothing."""
        return None if self.dry_run else self.model_dump(mode="json", exclude_none=True, exclude={"dry_run"})


class CircuitInfo(BaseModel):
    """The circuit breaker of an endpoint. `failures` is in a row; times are Unix milliseconds."""

    state: Literal["open", "closed"]
    failures: int
    failing_since: int | None
    probe_at: int | None
    error: str | None


class EndpointInfo(BaseModel):
    """An endpoint. `configured` is false for one that was removed from the settings and has deliveries left.

    `origin` is the scheme, host and port of its URL. `types` and `sessions` are its filters.
    """

    name: str
    configured: bool
    origin: str | None
    types: list[str]
    sessions: list[str]
    pending: int
    undelivered: int
    oldest_pending_s: float
    circuit: CircuitInfo


class EndpointList(BaseModel):
    """All endpoints, those of the settings first."""

    endpoints: list[EndpointInfo]


class DeliveryList(BaseModel):
    """Deliveries without their bodies, newest first."""

    deliveries: list[DeliveryRecord]


class RedeliverReport(BaseModel):
    """How many deliveries match and are redelivered. `missed` cannot be redelivered; `ids` are only in a dry run."""

    matched: int
    redelivered: int | None = None
    missed: list[str] | None = None
    ids: list[str] | None = None


BODY = JsonBody(RedeliverRequest, empty={}, max_bytes=MAX_BODY_BYTES)


@router.get("/webhooks")
def list_endpoints(_caller: SystemReader) -> EndpointList:
    """Lists the endpoints with their filters, their counts and their circuit breakers."""
    return EndpointList(endpoints=[EndpointInfo(**endpoint) for endpoint in endpoints_json(services())])


@router.get("/webhooks/deliveries", dependencies=[needs(Permission.SYSTEM), Depends(each_parameter_once)])
def list_deliveries(query: Annotated[DeliveriesQuery, Query()]) -> DeliveryList:
    """Lists deliveries, newest first."""
    filters = query.filters()
    statuses = (filters.status,) if filters.status else UNFINISHED
    return DeliveryList(
        deliveries=newest_deliveries(services().catalogue.deliveries, filters, statuses=statuses, limit=query.limit)
    )


@router.post(
    "/webhooks/redeliver",
    status_code=202,
    openapi_extra=BODY.openapi,
    responses={200: {"model": RedeliverReport, "description": "A dry run"}},
    response_model_exclude_unset=True,
)
@audited(Action.REDELIVER, lambda values: values["body"].audit_target())
def redeliver_many(
    _caller: SystemController,
    body: Annotated[RedeliverRequest, Depends(BODY)],
    response: Response,
    entry: AuditEntry,
) -> RedeliverReport:
    """Delivers again at once: the given `ids`, or at most 1000 that match the filters, oldest first."""
    tools = services()
    filtered = body.ids is None
    ids = redeliverable_ids(tools, body.filters(), limit=MAX_IDS) if filtered else list(dict.fromkeys(body.ids or ()))
    if body.dry_run:
        response.status_code = 200
        return RedeliverReport(matched=len(ids), ids=ids)
    missed = redeliver(tools, ids)
    entry.count = len(ids) - len(missed)
    entry.note(missed=len(missed))
    return RedeliverReport(matched=len(ids), redelivered=len(ids) - len(missed), missed=missed)
