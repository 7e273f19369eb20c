"""`/openapi.json`: the API for programs that read such things, for who may call it."""

from __future__ import annotations

import re
from importlib.metadata import version
from typing import Any

from fastapi import FastAPI, Request
from fastapi.openapi.utils import get_openapi
from fastapi.responses import JSONResponse

from actors.operations.workers import WorkerStatus
from esteira.web.api.records import FILTERS, MAX_BATCH
from esteira.web.api.replays import MAX_BATCH as MOST_REPLAYS
from esteira.web.api.webhooks import FILTERS as DELIVERY_FILTERS
from esteira.web.api.webhooks import MOST_IDS
from esteira.web.auth.access import Authenticator
from esteira.web.auth.logins import logged_in
from pipeline.catalogue import Filters, Preview
from pipeline.history import HistoryEntry
from pipeline.models import Attachment, Record, Stage
from pipeline.models.replacement_source import NewSource
from pipeline.remedies import LANGUAGES
from pipeline.security.tokens import MAX_LINK_S

OPEN = ("/healthz", "/readyz")
REF = "#/components/schemas/{model}"
SCHEMES = {
    "token": {"type": "http", "scheme": "bearer", "description": "API_TOKEN, or a session's token for reading."},
    "link": {"type": "apiKey", "in": "query", "name": "signature", "description": "A signed link has `expires`, too."},
}
SECONDS = {"type": "integer", "minimum": 1, "maximum": MAX_LINK_S}
NEXT = {
    "anyOf": [{"type": "string"}, {"type": "null"}],
    "description": "For the page behind this one; null at the end.",
}

NAMED: dict[str, Any] = {
    "type": "object",
    "properties": {"stage": {"enum": [str(stage) for stage in Stage]}, "session": {"type": "string"}},
    "minProperties": 1,
    "maxProperties": 1,
}


class Schema:
    """The description of an app, made when it is first asked for."""

    def __init__(self, app: FastAPI, authenticator: Authenticator) -> None:
        self._app = app
        self._authenticator = authenticator
        self._made: dict[str, Any] | None = None

    def add_routes(self) -> None:
        self._app.get("/openapi.json", include_in_schema=False)(self.answer)

    async def answer(self, request: Request) -> JSONResponse:
        self.authenticate(request)
        return JSONResponse(self.described())

    def authenticate(self, request: Request) -> None:
        """Returns if the request shows a token, or comes from a browser that is logged in to the dashboard.

        Raises:
            UnauthorizedError: neither.
        """
        if not logged_in(request):
            self._authenticator.authenticate(request)

    def described(self) -> dict[str, Any]:
        """The app's calls as OpenAPI has them."""
        if self._made is None:
            self._made = _described(self._app)
        return self._made


def _described(app: FastAPI) -> dict[str, Any]:
    made = get_openapi(title=app.title, version=version("esteira"), routes=app.routes)
    schemas = made.setdefault("components", {}).setdefault("schemas", {})
    made["components"]["securitySchemes"] = SCHEMES
    made["security"] = [{"token": []}]
    for model in (Record, HistoryEntry, Attachment, NewSource, Filters, Preview, WorkerStatus):
        described = model.model_json_schema(ref_template=REF)
        schemas |= described.pop("$defs", {}) | {model.__name__: described}
    told = schemas["Record"]["properties"]
    del told["storage_key"]
    told["content"] = {"anyOf": [{"type": "string"}, {"type": "null"}], "description": "The path of its content."}
    told["preview"] = {"anyOf": [{"$ref": REF.format(model="Preview")}, {"type": "null"}]}
    del schemas["Preview"]["properties"]["sha256"]
    schemas["Preview"]["required"].remove("sha256")
    filters = schemas.pop("Filters")["properties"]
    filters["since"] = {"type": "string", "description": "2h, 3d, an ISO date or time, or Unix milliseconds"}
    for path, operations in made["paths"].items():
        names = re.findall(r"{(\w+)}", path)
        for operation in operations.values():
            operation["parameters"] = [
                {"name": name, "in": "path", "required": True, "schema": {"type": "string"}} for name in names
            ]
            if path in OPEN:
                operation["security"] = []
    _add_parameters(made["paths"], filters)
    _add_bodies(made["paths"], filters)
    record = {"$ref": REF.format(model="Record")}
    history = {"type": "array", "items": {"$ref": REF.format(model="HistoryEntry")}}
    whole: dict[str, Any] = {"allOf": [record, {"type": "object", "properties": {"history": history}}]}
    for method, answer in {"get": whole, "delete": record}.items():
        made["paths"]["/media/{media_id}"][method]["responses"]["200"]["content"] = _json(answer)
    for status in ("200", "202"):
        cancelled = made["paths"]["/media/{media_id}/cancel"]["post"]["responses"]
        cancelled.setdefault(status, {"description": "It ends when its step is over"})["content"] = _json(record)
    page = {"type": "object", "properties": {"media": {"type": "array", "items": record}, "next": NEXT}}
    made["paths"]["/media"]["get"]["responses"]["200"]["content"] = _json(page)
    workers = {"type": "array", "items": {"$ref": REF.format(model="WorkerStatus")}}
    told_by_workers = {"type": "object", "properties": {"workers": workers}}
    made["paths"]["/workers"]["get"]["responses"]["200"]["content"] = _json(told_by_workers)
    return made


def _add_parameters(paths: dict[str, Any], filters: dict[str, Any]) -> None:
    wanted = {name: filters[name] for name in FILTERS}
    wanted["limit"] = {"type": "integer", "minimum": 1, "maximum": MAX_BATCH}
    wanted["next"] = {"type": "string"}
    paths["/media"]["get"]["parameters"] = [{"name": n, "in": "query", "schema": each} for n, each in wanted.items()]
    for what in ("content", "thumbnail"):
        linked = paths[f"/media/{{media_id}}/{what}"]["get"]
        linked["parameters"] += [{"name": "expires", "in": "query", "schema": {"type": "integer"}}]
        linked["security"] = [{"token": []}, {"link": []}]
    through = {"name": "redirect", "in": "query", "schema": {"enum": ["false"]}}
    paths["/media/{media_id}/content"]["get"]["parameters"].append(through)
    narrowing = {"since": filters["since"], "session": filters["session"], "language": {"enum": list(LANGUAGES)}}
    paths["/failures"]["get"]["parameters"] = [
        {"name": n, "in": "query", "schema": each} for n, each in narrowing.items()
    ]
    names = (*DELIVERY_FILTERS, "limit")
    paths["/webhooks/deliveries"]["get"]["parameters"] = [
        {"name": name, "in": "query", "schema": wanted.get(name, {"type": "string"})} for name in names
    ]


def _add_bodies(paths: dict[str, Any], filters: dict[str, Any]) -> None:
    many = {
        **filters,
        "dry_run": {"type": "boolean"},
        "limit": {"type": "integer", "minimum": 1, "maximum": MOST_REPLAYS},
        "rate": {"type": "number", "exclusiveMinimum": 0},
        "next": {"type": "string"},
    }
    deliveries = {name: {"type": "string"} for name in DELIVERY_FILTERS}
    ids = {"type": "array", "items": {"type": "string"}, "maxItems": MOST_IDS}
    sent = {"description": "What the gateway sends; of `media` an Attachment, or a list of them."}
    bodies: dict[str, dict[str, Any]] = {
        "/webhooks/redeliver": {
            "type": "object",
            "properties": {**deliveries, "ids": ids, "dry_run": {"type": "boolean"}},
        },
        "/media/replay": {"type": "object", "properties": many},
        "/media/{media_id}/replay": {"$ref": REF.format(model="NewSource")},
        "/media/{media_id}/link": {"type": "object", "properties": {"seconds": SECONDS}, "required": ["seconds"]},
        **dict.fromkeys(("/hooks/{gateway}", "/hooks/{gateway}/{secret}"), sent),
        "/pause": NAMED,
        "/resume": NAMED,
        "/media/{media_id}/cancel": {"type": "object", "description": "None is needed.", "maxProperties": 0},
    }
    for path, body in bodies.items():
        paths[path]["post"]["requestBody"] = {"content": _json(body)}


def _json(schema: dict[str, Any]) -> dict[str, Any]:
    return {"application/json": {"schema": schema}}
