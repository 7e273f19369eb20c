"""Many go again: counted first if the caller wants it, paced, and no more at once than a request may take."""

from __future__ import annotations

import threading
import time
from collections.abc import Sequence
from typing import Any

from fastapi import FastAPI, Request
from fastapi.responses import JSONResponse
from starlette.concurrency import run_in_threadpool

from actors.operations.replay import REPLAYABLE, replay_without_waiting
from esteira.web.api.records import FILTERS, decode_cursor, encode_cursor, limit_of, parse_filters
from esteira.web.auth.access import Authenticator
from esteira.web.intake.bodies import BodyReader, decode
from pipeline.catalogue import Filters
from pipeline.errors import Code, PayloadError, PermanentError, RetryableError
from pipeline.models import Model, Record, Status
from pipeline.services import services

MAX_BATCH = 1000
USUAL = 100
WITHIN_S = 20.0
KNOWN = (*FILTERS, "dry_run", "limit", "rate", "next")


class Asked(Model):
    """What the body of a replay of many says. `rate` is at most so many a second."""

    filters: tuple[Filters, ...]
    dry_run: bool
    limit: int
    rate: float | None
    after: tuple[int, str] | None


class Replays:
    """`POST /media/replay`, for who shows the API_TOKEN; one at a time in each process."""

    def __init__(self, authenticator: Authenticator, bodies: BodyReader) -> None:
        self._authenticator = authenticator
        self._bodies = bodies
        self._busy = threading.Lock()

    def add_routes(self, app: FastAPI) -> None:
        app.post("/media/replay", status_code=202)(self.replay)

    async def replay(self, request: Request) -> JSONResponse:
        """Sends again what ended badly and fits the body's filters, the newest first, for at most 20 s.

        The answer says how many fit, how many go (or with `dry_run` would), which of them could not, and with `next`,
        which the next call may give, where to go on.
        """
        self._authenticator.require_api_token(request)
        async with self._bodies.read_body(request) as body:
            asked = _asked(decode(body) if body.strip() else {})
        return JSONResponse(await run_in_threadpool(self._replay, asked), status_code=200 if asked.dry_run else 202)

    def _replay(self, asked: Asked) -> dict[str, Any]:
        catalogue = services().catalogue
        matched = sum(map(catalogue.count, asked.filters))
        found = [
            one for each in asked.filters for one in catalogue.find(each, limit=asked.limit + 1, after=asked.after)
        ]
        found.sort(key=lambda one: (one.received_at, one.id), reverse=True)
        page = found[: asked.limit]
        if asked.dry_run:
            return _answer(matched, page, missed=[], more=len(found) > len(page), ids=[one.id for one in page])
        if not self._busy.acquire(blocking=False):
            raise RetryableError(Code.TOO_MANY_REQUESTS, "another replay of many is under way here", retry_after=5)
        try:
            gone, missed = _send(page, asked.rate)
        finally:
            self._busy.release()
        return _answer(matched, gone, missed=missed, more=len(found) > len(gone))


def _answer(
    matched: int, tried: Sequence[Record], *, missed: Sequence[str], more: bool, **others: Any
) -> dict[str, Any]:
    going = {"matched": matched, "replayed": len(tried) - len(missed), "missed": missed}
    return {**going, "next": encode_cursor(tried[-1]) if more and tried else None, **others}


def _send(page: Sequence[Record], rate: float | None) -> tuple[Sequence[Record], list[str]]:
    """Those that were tried in time, and of them those that are not there or have not ended any more."""
    missed: list[str] = []
    begin = time.monotonic()
    for index, record in enumerate(page):
        due = begin + index / rate if rate else begin
        if max(due, time.monotonic()) > begin + WITHIN_S:
            return page[:index], missed
        time.sleep(max(0.0, due - time.monotonic()))
        try:
            replay_without_waiting(record.id)
        except PermanentError as error:
            if error.code not in {Code.NOT_FOUND, Code.NOT_ENDED}:
                raise
            missed.append(record.id)
    return page, missed


def _asked(body: Any) -> Asked:
    if not isinstance(body, dict):
        raise PayloadError("", "a replay of many is a JSON object")
    for name in body:
        if name not in KNOWN:
            raise PayloadError(name, f"is not known here; there are {', '.join(KNOWN)}")
    given = {name: value for name, value in body.items() if value is not None}
    if any(value == "" for value in given.values()):
        raise PayloadError("", "an empty filter would let everything through: leave it out")
    dry_run, rate = given.get("dry_run", False), given.get("rate")
    if not isinstance(dry_run, bool):
        raise PayloadError("dry_run", "must be true or false")
    if rate is not None and (isinstance(rate, bool) or not isinstance(rate, int | float) or not 0 < rate <= 10_000):
        raise PayloadError("rate", "must be a number above 0: so many a second")
    return Asked(
        filters=_each_status(parse_filters(given)),
        dry_run=dry_run,
        limit=limit_of(str(given.get("limit", USUAL)), most=MAX_BATCH),
        rate=rate,
        after=decode_cursor(str(given["next"])) if "next" in given else None,
    )


def _each_status(filters: Filters) -> tuple[Filters, ...]:
    """As `esteira replay` chooses: without a status the failed ones, and with an error whatever ended with it."""
    if filters.status is not None and filters.status not in REPLAYABLE:
        raise PayloadError("status", f"only what is {', '.join(REPLAYABLE)} can go again")
    statuses = (filters.status,) if filters.status else REPLAYABLE if filters.error else (Status.FAILED,)
    return tuple(filters.model_copy(update={"status": status}) for status in statuses)
