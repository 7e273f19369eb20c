"""How things stand, looked at every two seconds for all who watch; by nobody while nobody does."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field

import redis
import structlog
from starlette.concurrency import run_in_threadpool

from actors.hook import hook
from actors.operations.workers import WorkerStatus, workers
from pipeline.catalogue.delivery_models import EndpointStats
from pipeline.catalogue.statistics import MINUTE_MS, Minute
from pipeline.errors import PipelineError
from pipeline.outage import Outage

EVERY_S = 2.0
SHOWN_MINUTES = 60
LATE_MINUTES = 2  # a minute is asked for again until nothing can be added to it
PATIENCE_S = 0.25  # for which a page waits for figures before it is shown without

log = structlog.get_logger(__name__)


@dataclass(frozen=True)
class QueueCounts:
    """What Redis says: messages by stage and state, and the workers, those that died within the minute among them."""

    counts: Mapping[str, Mapping[str, int]]
    workers: tuple[WorkerStatus, ...]

    @property
    def living(self) -> int:
        """How many workers live."""
        return sum(worker.alive for worker in self.workers)


@dataclass(frozen=True)
class Rows:
    """What the catalogue says. Durations are in ms and None while nothing was done."""

    totals: Mapping[str, int]
    durations: Mapping[str, int | None]
    per_minute: int
    oldest_s: float
    minutes: tuple[Minute, ...]
    paused: frozenset[str] = frozenset()  # stages
    webhooks: tuple[EndpointStats, ...] = ()


@dataclass(frozen=True)
class Snapshot:
    """How things stand. What is away is None, and its `…_away_s` says for how long."""

    belt: QueueCounts | None
    rows: Rows | None
    belt_away_s: float = 0.0
    rows_away_s: float = 0.0
    circuit_open: bool = False


Watcher = Callable[[Snapshot], None]


@dataclass
class Looker:
    """Takes snapshots, in whatever thread it is called; one at a time."""

    clock: Callable[[], float] = time.monotonic
    _minutes: dict[int, Minute] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self._redis_outage = Outage("redis", logged=False, clock=self.clock)
        self._catalogue_outage = Outage("catalogue", logged=False, clock=self.clock)

    def look(self) -> Snapshot:
        """Asks Redis for a quarter of a second at most for each answer, and the catalogue as hooks do."""
        belt, rows = self._belt(), self._rows()
        return Snapshot(
            belt,
            rows,
            _outage_s(self._redis_outage, answered=belt is not None),
            _outage_s(self._catalogue_outage, answered=rows is not None),
            hook().breaker.is_open,
        )

    def _belt(self) -> QueueCounts | None:
        own = hook()
        if own.breaker.is_open:
            return None
        try:
            return QueueCounts(own.queue.stats.counts(), tuple(workers(own.queue)))
        except (redis.RedisError, OSError):
            return None

    def _rows(self) -> Rows | None:
        catalogue, endpoints = hook().services.catalogue, hook().services.webhooks.endpoints
        try:
            return Rows(
                catalogue.totals(),
                catalogue.durations(),
                catalogue.per_minute(),
                catalogue.oldest_s(),
                self._newest_minutes(catalogue.now()),
                frozenset(one.name for one in catalogue.pauses.all() if one.kind == "stage"),
                tuple(catalogue.deliveries.endpoint_stats(endpoints)),
            )
        except PipelineError:
            return None

    def _newest_minutes(self, now: int) -> tuple[Minute, ...]:
        first = now - now % MINUTE_MS - (SHOWN_MINUTES - 1) * MINUTE_MS
        known = [at for at in self._minutes if at >= first]
        since = max(first, max(known) - LATE_MINUTES * MINUTE_MS) if known else first
        fresh = hook().services.catalogue.statistics.minutes(since, now)
        self._minutes = {at: self._minutes[at] for at in known} | {one.at: one for one in fresh}
        return tuple(self._minutes[at] for at in sorted(self._minutes))


def _outage_s(outage: Outage, *, answered: bool) -> float:
    """Records whether the server answered; returns for how many seconds it has not."""
    if answered:
        outage.end()
    else:
        outage.begin("no answer")
    return outage.duration_s


class StatusPoller:
    """One for all pages of the process: asks while somebody watches, and tells all of them the same."""

    def __init__(self, look: Callable[[], Snapshot], *, every_s: float = EVERY_S) -> None:
        self._look = look
        self._every_s = every_s
        self._watchers: set[Watcher] = set()
        self._task: asyncio.Task[None] | None = None
        self._looking: asyncio.Future[Snapshot] | None = None
        self._last: tuple[float, Snapshot] | None = None

    async def snapshot(self) -> Snapshot | None:
        """How things stand, at most so old as watchers see it; None if that takes longer than a page may wait."""
        if self._last and time.monotonic() - self._last[0] < self._every_s:
            return self._last[1]
        with suppress(TimeoutError):
            return await asyncio.wait_for(asyncio.shield(self._ask()), PATIENCE_S)
        return None

    def watch(self, watcher: Watcher) -> None:
        """Tells a watcher how things stand, from now on, on the event loop."""
        self._watchers.add(watcher)
        if self._task is None:
            self._task = asyncio.create_task(self._keep_asking())

    def leave(self, watcher: Watcher) -> None:
        """Tells it nothing more; with the last one the asking ends."""
        self._watchers.discard(watcher)
        if not self._watchers and self._task:
            self._task.cancel()
            self._task = None

    async def refresh(self) -> None:
        """Looks at once and tells everybody, for who has just changed something."""
        self._looking = None
        self._tell(await self._ask())

    @property
    def watched(self) -> bool:
        return self._task is not None

    async def close(self) -> None:
        """Ends the asking, whoever watches."""
        self._watchers.clear()
        if self._task:
            self._task.cancel()
            self._task = None

    def _ask(self) -> asyncio.Future[Snapshot]:
        if self._looking is None or self._looking.done():
            self._looking = asyncio.ensure_future(self._take())
        return self._looking

    async def _take(self) -> Snapshot:
        found = await run_in_threadpool(self._look)
        self._last = (time.monotonic(), found)
        return found

    async def _keep_asking(self) -> None:
        while True:
            try:
                self._tell(await asyncio.shield(self._ask()))
            except Exception as error:  # noqa: BLE001  (the edge of a task that must not die; the next round comes)
                log.warning("no figures for the dashboard", error=type(error).__name__)
            await asyncio.sleep(self._every_s)

    def _tell(self, found: Snapshot) -> None:
        for watcher in list(self._watchers):
            try:
                watcher(found)
            except Exception as error:  # noqa: BLE001  (one page that is broken or gone must not keep it from the others)
                log.warning("a page took no figures", error=type(error).__name__)


SAMPLER = StatusPoller(Looker().look)
