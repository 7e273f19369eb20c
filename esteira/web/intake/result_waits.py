"""`?wait=SECONDS`: requests that wait for the result of the attachment that they have handed over.

One task of each process reads the results of all waiting requests from the catalogue, so that it does not matter which
process or machine finishes them, and whether Redis is away. A request that finds no room, or whose client leaves, does
not wait: its attachment is accepted all the same.
"""

from __future__ import annotations

import asyncio
import re
from collections import Counter
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from typing import Any, NamedTuple

from fastapi import Request
from starlette.concurrency import run_in_threadpool

from esteira.web.server.connections import CONNECTION_KEY
from pipeline.errors import PayloadError, PipelineError
from pipeline.models import Record, Status
from pipeline.security.callers import Caller
from pipeline.services import services

MAX_WAIT_S = 300.0
MAX_WAITING = 128  # requests of one process
MAX_WAITING_OF_TOKEN = 64  # so that one program does not take all places
YOUNG_S = 5.0  # small files are finished by then
POLL_YOUNG_S, POLL_S = 0.1, 0.5  # between two reads while a request is younger, and after that
SECONDS = re.compile(r"[0-9]{1,4}(\.[0-9]{1,3})?")
FLAGS = {"1": True, "true": True, "0": False, "false": False}
UNSUCCESSFUL = frozenset({Status.REJECTED, Status.FAILED, Status.EXPIRED})


class WaitTerms(NamedTuple):
    """How long a request waits, and whether it is answered with the content instead of the record."""

    seconds: float
    content: bool


def wait_terms(query: Mapping[str, str]) -> WaitTerms | None:
    """The parameters `wait` and `content` of a request; None if it does not wait.

    Raises:
        PayloadError: one of them is wrong.
    """
    wait, content = query.get("wait"), query.get("content")
    if content is not None and content not in FLAGS:
        raise PayloadError("content", "must be 1 or 0")
    if wait is None:
        if content and FLAGS[content]:
            raise PayloadError("content", "needs wait, the seconds to wait for it: ?wait=30&content=1")
        return None
    if not SECONDS.fullmatch(wait) or float(wait) > MAX_WAIT_S:
        raise PayloadError("wait", f"must be a number of seconds from 0 to {MAX_WAIT_S:.0f}")
    return WaitTerms(float(wait), content is not None and FLAGS[content])


@dataclass(eq=False)
class _Waiting:
    """A request that waits."""

    media_id: str
    request: Request
    result: asyncio.Future[Record | None]
    began: float

    @property
    def is_shutting_down(self) -> bool:
        return bool(getattr(self.request.scope.get(CONNECTION_KEY), "is_shutting_down", False))


class ResultWaits:
    """The waiting requests of one process. For the event loop only."""

    def __init__(self) -> None:
        self._waiting: set[_Waiting] = set()
        self._per_token: Counter[str] = Counter()
        self._task: asyncio.Task[None] | None = None

    async def wait(self, media_id: str, request: Request, caller: Caller, *, seconds: float) -> Record | None:
        """The finished record of an attachment; None if it has no result in time, or there is no room to wait.

        Also None if the client leaves meanwhile, or the server shuts down.
        """
        token = caller.token_id or ""
        if len(self._waiting) >= MAX_WAITING or self._per_token[token] >= MAX_WAITING_OF_TOKEN:
            return None
        loop = asyncio.get_running_loop()
        waiting = _Waiting(media_id, request, loop.create_future(), loop.time())
        self._waiting.add(waiting)
        self._per_token[token] += 1
        if self._task is None or self._task.done():
            self._task = asyncio.create_task(self._poll())
        left = asyncio.create_task(_until_disconnected(request))
        ends: set[asyncio.Future[Any]] = {waiting.result, left}
        try:
            await asyncio.wait(ends, timeout=seconds, return_when=asyncio.FIRST_COMPLETED)
            return waiting.result.result() if waiting.result.done() else await self._last_look(media_id, seconds)
        finally:
            left.cancel()
            self._waiting.discard(waiting)
            self._per_token[token] -= 1
            self._per_token += Counter()  # drops those that are zero

    async def _last_look(self, media_id: str, seconds: float) -> Record | None:
        """The result if it is there already, for a request that does not want to wait."""
        return None if seconds else (await _results([media_id])).get(media_id)

    async def _poll(self) -> None:
        """Reads the results until no request waits."""
        while self._waiting:
            results = await _results([waiting.media_id for waiting in self._waiting])
            for waiting in self._waiting:
                record = results.get(waiting.media_id)
                if (record or waiting.is_shutting_down) and not waiting.result.done():
                    waiting.result.set_result(record)
            now = asyncio.get_running_loop().time()
            young = any(now - waiting.began < YOUNG_S for waiting in self._waiting)
            await asyncio.sleep(POLL_YOUNG_S if young else POLL_S)


async def _results(ids: list[str]) -> dict[str, Record]:
    """Those of these attachments that have their result. Empty while the catalogue is away."""
    with suppress(PipelineError):
        records = await run_in_threadpool(lambda: services().catalogue.get_many(ids))
        return {record.id: record for record in records if _has_result(record)}
    return {}


def _has_result(record: Record) -> bool:
    # An attachment that did not succeed has ended before its event is delivered, which may take long.
    return record.finished_at is not None or (record.ended_at is not None and record.status in UNSUCCESSFUL)


async def _until_disconnected(request: Request) -> None:
    while (await request.receive())["type"] != "http.disconnect":
        pass
