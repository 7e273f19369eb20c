"""Pausing, resuming and cancelling over HTTP, for who shows the API_TOKEN."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from fastapi import FastAPI, Request
from fastapi.responses import JSONResponse
from starlette.concurrency import run_in_threadpool

from actors.operations.pause import cancel, pause, pauses, resume
from esteira.web.api.records import record_json
from esteira.web.auth.access import Authenticator
from esteira.web.intake.bodies import BodyReader, decode
from pipeline.catalogue import PauseKind
from pipeline.errors import PayloadError
from pipeline.models import Record

NO_STORE = {"Cache-Control": "no-store"}


class Controls:
    """`/pause`, `/resume`, `/pauses` and `/media/{id}/cancel`. A session's token opens none of them."""

    def __init__(self, authenticator: Authenticator, bodies: BodyReader) -> None:
        self._authenticator = authenticator
        self._bodies = bodies

    def add_routes(self, app: FastAPI) -> None:
        app.get("/pauses")(self.show)
        app.post("/pause")(self.pause)
        app.post("/resume")(self.resume)
        app.post("/media/{media_id}/cancel")(self.cancel)

    async def show(self, request: Request) -> JSONResponse:
        """Everything that is paused: `{"pauses": [{"kind", "name", "since"}]}`; `since` is Unix milliseconds."""
        self._authenticator.require_api_token(request)
        return JSONResponse({"pauses": await run_in_threadpool(_told)}, headers=NO_STORE)

    async def pause(self, request: Request) -> JSONResponse:
        """Pauses what the body names, `{"stage": …}` or `{"session": …}`: what waits keeps waiting.

        `{"changed", "pauses"}`: whether it was not paused before, and everything that is paused now.
        """
        return await self._change(request, pause)

    async def resume(self, request: Request) -> JSONResponse:
        """Lets what the body names go on; the answer is that of `POST /pause`."""
        return await self._change(request, resume)

    async def cancel(self, request: Request) -> JSONResponse:
        """Cancels what is neither stored nor refused; answers what is known of it.

        200: it has ended, `rejected` with the code `cancelled`; 202: it ends so when the step that runs is over. 404:
        there is no such attachment; 409: it is stored or has ended otherwise. Once more is no error.
        """
        self._authenticator.require_api_token(request)
        record: Record = await run_in_threadpool(cancel, request.path_params["media_id"])
        return JSONResponse(record_json(record), status_code=200 if record.ended_at else 202, headers=NO_STORE)

    async def _change(self, request: Request, change: Callable[[PauseKind, str], bool]) -> JSONResponse:
        self._authenticator.require_api_token(request)
        async with self._bodies.read_body(request) as body:
            kind, name = _named(decode(body))
            changed = await run_in_threadpool(change, kind, name)
        return JSONResponse({"changed": changed, "pauses": await run_in_threadpool(_told)}, headers=NO_STORE)


def _told() -> list[dict[str, Any]]:
    return [pause._asdict() for pause in pauses()]


def _named(body: Any) -> tuple[PauseKind, str]:
    if not isinstance(body, dict) or len(body) != 1 or not body.keys() <= {"stage", "session"}:
        raise PayloadError("", 'must be {"stage": …} or {"session": …}')
    [(kind, name)] = body.items()
    if not isinstance(name, str):
        raise PayloadError(kind, "must be text")
    return kind, name
