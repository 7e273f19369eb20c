"""`/webhooks`: how it stands with the receivers of webhooks, and what was given up goes once more."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from fastapi import FastAPI, Request
from fastapi.responses import JSONResponse
from starlette.concurrency import run_in_threadpool

from actors.webhooks.admin import endpoints_json, newest_deliveries, redeliver, redeliverable_ids
from esteira.web.api.records import MAX_BATCH, USUAL, limit_of, narrowed, once_each
from esteira.web.auth.access import Authenticator
from esteira.web.intake.bodies import BodyReader, decode
from pipeline.catalogue import DeliveryFilters, DeliveryStatus
from pipeline.errors import PayloadError
from pipeline.services import services
from pipeline.values.gateway_values import clean_text

FILTERS = tuple(DeliveryFilters.model_fields)
MOST_IDS = 1000
WAITING = (DeliveryStatus.UNDELIVERED, DeliveryStatus.PENDING)
PRIVATE = {"Cache-Control": "no-store", "X-Content-Type-Options": "nosniff"}


class Webhooks:
    """`/webhooks`, for who shows the API_TOKEN."""

    def __init__(self, authenticator: Authenticator, bodies: BodyReader) -> None:
        self._authenticator = authenticator
        self._bodies = bodies

    def add_routes(self, app: FastAPI) -> None:
        app.get("/webhooks")(self.list)
        app.get("/webhooks/deliveries")(self.deliveries)
        app.post("/webhooks/redeliver", status_code=202)(self.redeliver)

    async def list(self, request: Request) -> JSONResponse:
        """Each endpoint with its filters, its counts and its circuit: `{"endpoints": […]}`."""
        self._authenticator.require_api_token(request)
        return JSONResponse({"endpoints": await run_in_threadpool(_endpoints)}, headers=PRIVATE)

    async def deliveries(self, request: Request) -> JSONResponse:
        """The newest deliveries that wait or were given up: `{"deliveries": […]}`.

        Parameters: status (else undelivered and pending), endpoint, session, since, limit (1 to 200, else 50).
        """
        self._authenticator.require_api_token(request)
        asked = once_each(request.query_params.multi_items(), known=(*FILTERS, "limit"))
        return JSONResponse({"deliveries": await run_in_threadpool(_deliveries, asked)}, headers=PRIVATE)

    async def redeliver(self, request: Request) -> JSONResponse:
        """Has deliveries made at once: those of `ids`, or at most 1000 that fit the body's filters, the oldest first.

        The answer says how many fit, how many go (or with `dry_run` would), and which of them could not.
        """
        self._authenticator.require_api_token(request)
        async with self._bodies.read_body(request) as body:
            asked = _asked(decode(body) if body.strip() else {})
        answer = await run_in_threadpool(_redeliver, asked)
        return JSONResponse(answer, status_code=200 if asked.get("dry_run") else 202, headers=PRIVATE)


def _endpoints() -> list[dict[str, Any]]:
    return endpoints_json(services())


def _deliveries(asked: Mapping[str, str]) -> list[dict[str, Any]]:
    filters = narrowed(DeliveryFilters, asked)
    limit = limit_of(asked.get("limit", str(USUAL)), most=MAX_BATCH)
    statuses = (filters.status,) if filters.status else WAITING
    found = newest_deliveries(services().catalogue.deliveries, filters, statuses=statuses, limit=limit)
    return [one.model_dump(mode="json") for one in found]


def _redeliver(asked: Mapping[str, Any]) -> dict[str, Any]:
    tools = services()
    ids = asked.get("ids")
    wanted = (
        list(dict.fromkeys(map(clean_text, ids)))
        if ids is not None
        else redeliverable_ids(tools, narrowed(DeliveryFilters, asked), limit=MOST_IDS)
    )
    if asked.get("dry_run"):
        return {"matched": len(wanted), "ids": wanted}
    missed = redeliver(tools, wanted)
    return {"matched": len(wanted), "redelivered": len(wanted) - len(missed), "missed": missed}


def _asked(body: Any) -> dict[str, Any]:
    if not isinstance(body, dict):
        raise PayloadError("", "a redelivery is a JSON object")
    for name, value in body.items():
        if name not in {*FILTERS, "ids", "dry_run"}:
            raise PayloadError(name, f"is not known here; there are {', '.join((*FILTERS, 'ids', 'dry_run'))}")
        if value is None or value == "":
            raise PayloadError(name, "is empty: leave it out")
    ids = body.get("ids")
    if ids is not None and not _are_ids(ids):
        raise PayloadError("ids", f"must be a list of at most {MOST_IDS} ids of deliveries")
    if ids is not None and any(name in body for name in FILTERS):
        raise PayloadError("ids", "give ids or filters, not both")
    if not isinstance(body.get("dry_run", False), bool):
        raise PayloadError("dry_run", "must be true or false")
    if body.get("status") not in (None, *WAITING):
        raise PayloadError("status", "only what is undelivered or pending can go again")
    narrowed(DeliveryFilters, body)
    return body


def _are_ids(ids: Any) -> bool:
    return isinstance(ids, list) and len(ids) <= MOST_IDS and all(isinstance(one, str) for one in ids)
