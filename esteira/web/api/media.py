"""Attachments by their ids and in pages; what ended badly goes again, with a new source if one is handed in."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from fastapi import FastAPI, Request
from fastapi.responses import JSONResponse
from starlette.concurrency import run_in_threadpool

from actors.maintenance.deletions import delete
from actors.operations.replay import replay_without_waiting
from esteira.web.api.records import (
    FILTERS,
    USUAL,
    decode_cursor,
    encode_cursor,
    history_json,
    limit_of,
    once_each,
    parse_filters,
    record_json,
    unknown,
)
from esteira.web.auth.access import Authenticator, Caller
from esteira.web.intake.bodies import BodyReader, decode
from pipeline.errors import PayloadError
from pipeline.models import Record
from pipeline.models.replacement_source import parse_new_source
from pipeline.security.tokens import MAX_LINK_S, TokenSigner
from pipeline.services import services

PRIVATE = {"Cache-Control": "no-store", "X-Content-Type-Options": "nosniff"}


class Media:
    """`/media`: to be read with the API_TOKEN or a session's token, to be changed with the API_TOKEN alone."""

    def __init__(self, authenticator: Authenticator, bodies: BodyReader) -> None:
        self._authenticator = authenticator
        self._bodies = bodies

    def add_routes(self, app: FastAPI) -> None:
        app.get("/media")(self.list)
        app.get("/media/{media_id}")(self.show)
        app.delete("/media/{media_id}")(self.delete)
        app.post("/media/{media_id}/link", status_code=201)(self.link)
        app.post("/media/{media_id}/replay", status_code=202)(self.replay)

    async def list(self, request: Request) -> JSONResponse:
        """The newest first: `{"media": […], "next": …}`; with `next` as a parameter comes the page behind it.

        Parameters: status, session, error, stage, kind, since, limit (1 to 200, else 50), next.
        """
        caller = self._authenticator.authenticate(request)
        asked = once_each(request.query_params.multi_items(), known=(*FILTERS, "limit", "next"))
        return JSONResponse(await run_in_threadpool(_page, caller, asked), headers=PRIVATE)

    async def show(self, request: Request) -> JSONResponse:
        """One attachment with its `history`; 404 if there is none with this id, or it is another session's."""
        caller = self._authenticator.authenticate(request)
        told = await run_in_threadpool(_shown, caller, request.path_params["media_id"])
        return JSONResponse(told, headers=PRIVATE)

    async def delete(self, request: Request) -> JSONResponse:
        """Deletes what has ended, and its content unless another attachment has the same; answers what is left of it.

        404: there is no such attachment; 409: it is under way. Once more is no error.
        """
        self._authenticator.require_api_token(request)
        tombstone = await run_in_threadpool(_delete, request.path_params["media_id"])
        return JSONResponse(record_json(tombstone), headers=PRIVATE)

    async def link(self, request: Request) -> JSONResponse:
        """A link to the content that needs no token, for the `seconds` that the body asks for: `{"url", "expires"}`.

        `url` is a path on this server, `expires` Unix seconds.
        """
        caller = self._authenticator.authenticate(request)
        async with self._bodies.read_body(request) as body:
            seconds = _seconds(decode(body))
            signer = self._authenticator.signer()
            made = await run_in_threadpool(_link, signer, caller, request.path_params["media_id"], seconds)
        return JSONResponse(made, status_code=201, headers=PRIVATE)

    async def replay(self, request: Request) -> JSONResponse:
        """Sends one round again: where it stood, or from fetch with what the body says of a new source.

        202 says that it is written down; while Redis is away, the workers' sweep puts it on the belt. 404: there is no
        such attachment; 409: it has not ended, or is done; 400 names the field that is wrong.
        """
        self._authenticator.require_api_token(request)
        async with self._bodies.read_body(request) as body:
            answer = await run_in_threadpool(_replay, request.path_params["media_id"], body)
        return JSONResponse(answer, status_code=202)


def visible(caller: Caller, media_id: str) -> Record:
    """The attachment, if there is one for this caller.

    Raises:
        PermanentError: `not_found`.
    """
    record = services().catalogue.get(media_id)
    if record is None or not caller.sees(record):
        raise unknown()
    return record


def _shown(caller: Caller, media_id: str) -> dict[str, Any]:
    record = visible(caller, media_id)
    history = services().catalogue.history(media_id)
    return {**_told([record])[0], "history": history_json(history, workers=caller.session is None)}


def _page(caller: Caller, asked: dict[str, str]) -> dict[str, Any]:
    filters = parse_filters(asked)
    limit = limit_of(asked.get("limit", str(USUAL)))
    after = decode_cursor(asked["next"]) if "next" in asked else None
    if caller.session is not None:
        if filters.session not in {None, caller.session}:
            return {"media": [], "next": None}
        filters = filters.model_copy(update={"session": caller.session})
    found = services().catalogue.find(filters, limit=limit + 1, after=after)
    page = found[:limit]
    return {"media": _told(page), "next": encode_cursor(page[-1]) if len(found) > limit else None}


def _told(records: Sequence[Record]) -> list[dict[str, Any]]:
    """Attachments with their previews, which one question finds for all of them."""
    previews = services().catalogue.previews.get_many(one.sha256 for one in records if one.sha256)
    return [record_json(one, previews.get(one.sha256 or "")) for one in records]


def _seconds(body: Any) -> int:
    seconds = body.get("seconds") if isinstance(body, dict) else None
    if not isinstance(seconds, int) or isinstance(seconds, bool) or not 1 <= seconds <= MAX_LINK_S:
        raise PayloadError("seconds", f"must be a whole number from 1 to {MAX_LINK_S}")
    return seconds


def _link(signer: TokenSigner, caller: Caller, media_id: str, seconds: int) -> dict[str, Any]:
    url, expires = signer.link(visible(caller, media_id).id, seconds=seconds)
    return {"url": url, "expires": expires}


def _delete(media_id: str) -> Record:
    return delete(services(), media_id)


def _replay(media_id: str, body: bytes) -> dict[str, str]:
    record = replay_without_waiting(media_id, parse_new_source(decode(body) if body.strip() else None))
    return {"id": record.id, "status": record.status, "stage": record.stage}
