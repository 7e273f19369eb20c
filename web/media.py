"""Attachments by their ids: what ended badly goes again, with a new source if one is handed in."""

from __future__ import annotations

from fastapi import FastAPI, Request
from fastapi.responses import JSONResponse
from starlette.concurrency import run_in_threadpool

from actors.replay import replay_from_hook
from pipeline.new_source import parse_new_source
from web.access import Doorkeeper
from web.bodies import Bodies, decode


class Media:
    """`/media/{id}`, for who shows the API_TOKEN."""

    def __init__(self, doorkeeper: Doorkeeper, bodies: Bodies) -> None:
        self._doorkeeper = doorkeeper
        self._bodies = bodies

    def add_routes(self, app: FastAPI) -> None:
        app.post("/media/{media_id}/replay", status_code=202)(self.replay)

    async def replay(self, request: Request) -> JSONResponse:
        """Sends one round again: where it stood, or from fetch with what the body says of a new source.

        202 says that it is written down; while Redis is away, the workers' sweep puts it on the belt. 404: there is no
        such attachment; 409: it has not ended, or is done; 400 names the field that is wrong.
        """
        self._doorkeeper.check_token(request)
        async with self._bodies.body_of(request) as body:
            answer = await run_in_threadpool(_replay, request.path_params["media_id"], body)
        return JSONResponse(answer, status_code=202)


def _replay(media_id: str, body: bytes) -> dict[str, str]:
    record = replay_from_hook(media_id, parse_new_source(decode(body) if body.strip() else None))
    return {"id": record.id, "status": record.status, "stage": record.stage}
