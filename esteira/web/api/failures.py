"""What ended badly, in groups, with the remedy in plain words."""

from __future__ import annotations

from typing import Any

from fastapi import FastAPI, Request
from fastapi.responses import JSONResponse
from starlette.concurrency import run_in_threadpool

from esteira.web.api.media import PRIVATE
from esteira.web.api.records import once_each, parse_filters
from esteira.web.auth.access import Authenticator, Caller
from pipeline.errors import PayloadError
from pipeline.remedies import LANGUAGES
from pipeline.services import services


class Failures:
    """`GET /failures`, for who shows the API_TOKEN, or a session's token for that session alone."""

    def __init__(self, authenticator: Authenticator) -> None:
        self._authenticator = authenticator

    def add_routes(self, app: FastAPI) -> None:
        app.get("/failures")(self.answer)

    async def answer(self, request: Request) -> JSONResponse:
        """What failed, was rejected or has expired, by code and stage, the most first: `{"failures": […]}`.

        Parameters: since, session, language (en or pt-BR) of what happened and what to do.
        """
        caller = self._authenticator.authenticate(request)
        asked = once_each(request.query_params.multi_items(), known=("since", "session", "language"))
        return JSONResponse({"failures": await run_in_threadpool(_groups, caller, asked)}, headers=PRIVATE)


def _groups(caller: Caller, asked: dict[str, str]) -> list[dict[str, Any]]:
    filters, language = parse_filters(asked), asked.get("language", LANGUAGES[0])
    if language not in LANGUAGES:
        raise PayloadError("language", f"must be one of {', '.join(LANGUAGES)}")
    if caller.session is not None and filters.session not in {None, caller.session}:
        return []
    session = caller.session if caller.session is not None else filters.session
    found = services().catalogue.failures.find(since=filters.since or 0, session=session)
    return [group.to_json(language=language) for group in found]
