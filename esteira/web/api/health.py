"""`/healthz`, `/readyz`, `/stats` and `/workers`."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Annotated, Any, Literal

import redis
from fastapi import APIRouter, Query, Request, Response
from pydantic import BaseModel
from starlette.concurrency import run_in_threadpool

from actors.operations.stats import stats
from actors.operations.workers import WorkerStatus, workers
from esteira.web.api.controls import PauseInfo
from esteira.web.auth.dependencies import authenticator_of, needs
from esteira.web.auth.logins import login_caller
from esteira.web.intake.ignored_counts import WebIgnoredCounter
from pipeline.config.settings import Settings
from pipeline.errors import Code, PermanentError, PipelineError
from pipeline.intake_spool import open_spool
from pipeline.redis_client import connect
from pipeline.security.roles import Permission
from pipeline.services import services

PROBE_TIMEOUT_S = 1
Purpose = Annotated[Literal["intake"] | None, Query(alias="for", description="The hooks alone: they need less.")]


class Alive(BaseModel):
    """The process answers."""

    status: Literal["ok"] = "ok"


class Readiness(BaseModel):
    """Whether the catalogue and Redis answer, or with `for=intake` whether hooks are accepted.

    `catalogue`, `redis` and `intake` are `ok`, or what is wrong with them, for callers that may see the state of the
    system. The intake is `ok` as long as the catalogue answers or the intake spool takes what arrives.
    """

    status: Literal["ok", "unavailable"]
    catalogue: str | None = None
    redis: str | None = None
    intake: str | None = None


class WorkerList(BaseModel):
    """All worker processes."""

    workers: list[WorkerStatus]


class QueueCounts(BaseModel):
    """The messages of a queue. `dead` are those that the queue gave up and that wait to be recorded."""

    ready: int
    delayed: int
    running: int
    dead: int


class SessionCounts(BaseModel):
    """The messages of a session in all queues."""

    ready: int
    running: int


class Durations(BaseModel):
    """Milliseconds from received to finished of the newest 1000 attachments; null if there are none."""

    mean: int | None
    p50: int | None
    p95: int | None
    p99: int | None


class SpoolFigures(BaseModel):
    """The intake spool of the machine that answers. `damaged` are the entries that were set aside."""

    entries: int
    size_bytes: int
    oldest_s: float
    damaged: int


class SystemStats(BaseModel):
    """The figures of `esteira stats --json`; `actors.operations.stats` says what each of them counts."""

    queues: dict[str, QueueCounts]
    sessions: dict[str, SessionCounts]
    totals: dict[str, int]
    duration_ms: Durations
    per_minute: int
    oldest_unfinished_s: float
    intake_spool: SpoolFigures | None
    pauses: list[PauseInfo]


class HealthRoutes:
    """The health routes, and the readiness probe that their callers share."""

    def __init__(self, settings: Settings, ignored: WebIgnoredCounter) -> None:
        self._settings = settings
        self._ignored = ignored
        self._probe: asyncio.Future[Readiness] | None = None

    def router(self) -> APIRouter:
        router = APIRouter(tags=["system"])
        router.get("/healthz")(self.show_alive)
        responses: dict[int | str, dict[str, Any]] = {503: {"model": Readiness, "description": "Not ready"}}
        router.get("/readyz", responses=responses, response_model_exclude_unset=True)(self.show_ready)
        figures: dict[int | str, dict[str, Any]] = {200: {"model": SystemStats}}
        router.get("/stats", response_model=None, responses=figures, dependencies=[needs(Permission.SYSTEM)])(
            self.show_stats
        )
        router.get("/workers", dependencies=[needs(Permission.SYSTEM)])(self.show_workers)
        return router

    async def show_alive(self) -> Alive:
        """Answers while the process lives."""
        return Alive()

    async def show_ready(
        self,
        request: Request,
        response: Response,
        purpose: Purpose = None,
    ) -> Readiness:
        """Whether the catalogue and Redis answer. With a token or a login, 503 names which of them does not.

        `for=intake` is for a load balancer in front of the hooks: 200 as long as they are accepted, also while Redis is
        away, or while the catalogue is and the intake spool has room.
        """
        readiness = await self.readiness()
        if purpose == "intake":
            status: Literal["ok", "unavailable"] = "ok" if readiness.intake == "ok" else "unavailable"
            readiness = readiness.model_copy(update={"status": status})
        response.status_code = 200 if readiness.status == "ok" else 503
        return readiness if await _may_see_details(request) else Readiness(status=readiness.status)

    async def readiness(self) -> Readiness:
        """Probes the catalogue and Redis."""
        # Concurrent callers share one probe: /readyz needs no token, and probes of a server that hangs would otherwise
        # occupy all threads.
        if self._probe is None or self._probe.done():
            self._probe = asyncio.ensure_future(_probe(self._settings))
        return await asyncio.shield(self._probe)

    def show_stats(self) -> dict[str, Any]:
        """The figures of `esteira stats --json`."""
        self._ignored.flush()
        with _redis_required():
            return stats()

    def show_workers(self) -> WorkerList:
        """Lists the worker processes: their host, what they are working on, and whether they send heartbeats."""
        with _redis_required():
            return WorkerList(workers=workers())


async def _may_see_details(request: Request) -> bool:
    if caller := login_caller(request):
        return caller.may(Permission.SYSTEM)
    if "authorization" not in request.headers:
        return False
    try:
        return (await authenticator_of(request).authenticate(request)).may(Permission.SYSTEM)
    except PipelineError:  # also while the catalogue, which has the tokens of users, does not answer
        return False


@contextmanager
def _redis_required() -> Iterator[None]:
    try:
        yield
    except redis.RedisError as error:
        raise PipelineError(Code.QUEUE, "Redis does not answer") from error


async def _probe(settings: Settings) -> Readiness:
    fault = await run_in_threadpool(_catalogue_fault)
    queue = await run_in_threadpool(_redis_fault, settings)
    intake = await run_in_threadpool(_intake_fault, settings, fault) if fault else None
    status: Literal["ok", "unavailable"] = "unavailable" if fault or queue else "ok"
    catalogue = fault.message if fault else "ok"
    return Readiness(status=status, catalogue=catalogue, redis=queue or "ok", intake=intake or "ok")


def _catalogue_fault() -> PipelineError | None:
    try:
        # During a rolling upgrade this process works on the tables of the next version; a load balancer must keep it.
        services().catalogue.check_schema(newer_allowed=True)
    except PipelineError as error:
        return error
    return None


def _intake_fault(settings: Settings, catalogue_fault: PipelineError) -> str | None:
    """Why hooks are refused while the catalogue has this fault; None if the spool takes them."""
    spool = None if isinstance(catalogue_fault, PermanentError) else open_spool(settings)
    return spool.refusal() if spool else catalogue_fault.message


def _redis_fault(settings: Settings) -> str | None:
    try:
        with connect(settings.redis, timeout_s=PROBE_TIMEOUT_S) as client:
            client.ping()
    except redis.RedisError as error:
        return f"does not answer ({type(error).__name__})"
    return None
