"""Health and statistics."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import redis
from fastapi import FastAPI, Request
from fastapi.responses import JSONResponse
from starlette.concurrency import run_in_threadpool

from actors.operations.stats import stats
from actors.operations.workers import workers
from esteira.web.auth.access import Authenticator
from esteira.web.intake.ignored_counts import IgnoredCounter
from pipeline.config.settings import Settings
from pipeline.errors import Code, PipelineError
from pipeline.services import services


class Health:
    """Whether the process lives, whether it can work, and what it has done."""

    def __init__(self, settings: Settings, authenticator: Authenticator, tally: IgnoredCounter) -> None:
        self._settings = settings
        self._authenticator = authenticator
        self._tally = tally
        self._probe: asyncio.Future[dict[str, str | None]] | None = None

    def add_routes(self, app: FastAPI) -> None:
        app.get("/healthz")(self.answer_alive)
        app.get("/readyz")(self.answer_ready)
        app.get("/stats")(self.answer_stats)
        app.get("/workers")(self.answer_workers)

    async def answer_alive(self) -> dict[str, str]:
        """The process lives."""
        return {"status": "ok"}

    async def answer_ready(self) -> JSONResponse:
        """Whether the catalogue and Redis answer; 503 names which does not."""
        # All who ask meanwhile share one probe: nobody has to show a token here, and a server that hangs would keep
        # every thread from the hooks.
        if self._probe is None or self._probe.done():
            self._probe = asyncio.ensure_future(_faults(self._settings))
        faults = await asyncio.shield(self._probe)
        ready = not any(faults.values())
        answer = {"status": "ok" if ready else "unavailable", **{name: fault or "ok" for name, fault in faults.items()}}
        return JSONResponse(answer, status_code=200 if ready else 503)

    async def answer_stats(self, request: Request) -> dict[str, Any]:
        """The figures of `esteira stats --json`."""
        self._authenticator.require_api_token(request)
        return await run_in_threadpool(self._stats)

    async def answer_workers(self, request: Request) -> dict[str, Any]:
        """Every worker process: where it runs, what it works on, whether its heart beats."""
        self._authenticator.require_api_token(request)
        return {"workers": await run_in_threadpool(_workers)}

    def _stats(self) -> dict[str, Any]:
        self._tally.flush()
        with _redis_wanted():
            return stats()


def _workers() -> list[dict[str, Any]]:
    with _redis_wanted():
        return [worker.model_dump(mode="json") for worker in workers()]


@contextmanager
def _redis_wanted() -> Iterator[None]:
    try:
        yield
    except redis.RedisError as error:
        raise PipelineError(Code.QUEUE, "Redis does not answer") from error


async def _faults(settings: Settings) -> dict[str, str | None]:
    return {
        "catalogue": await run_in_threadpool(_probe_catalogue),
        "redis": await run_in_threadpool(_probe_redis, settings),
    }


def _probe_catalogue() -> str | None:
    try:
        services().catalogue.check_schema()
    except PipelineError as error:
        return error.message
    return None


def _probe_redis(settings: Settings) -> str | None:
    try:
        with redis.Redis.from_url(settings.redis, socket_timeout=1, socket_connect_timeout=1, retry=None) as client:
            client.ping()
    except redis.RedisError as error:
        return f"does not answer ({type(error).__name__})"
    return None
