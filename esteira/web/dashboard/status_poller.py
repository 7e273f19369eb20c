"""Polls the system's status every two seconds for all open pages, and not at all without an open page."""

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
from pipeline.catalogue.statistics import MINUTE_MS, Minute, Statistics
from pipeline.errors import PipelineError
from pipeline.intake_spool import SpoolStatus, open_spool
from pipeline.outage import Outage
from pipeline.services import services

POLL_S = 2.0
SHOWN_MINUTES = 60
LATE_MINUTES = 2  # minutes that may still change are read again
COUNTED = 10_000  # unfinished attachments that are counted one by one
PAGE_WAIT_S = 0.25  # how long a page waits for the first snapshot before it is shown without figures
NOTHING_SPOOLED = SpoolStatus()

log = structlog.get_logger(__name__)


@dataclass(frozen=True)
class QueueCounts:
    """The state of the queue: messages by stage and state, and the workers (dead ones for a minute)."""

    counts: Mapping[str, Mapping[str, int]]
    workers: tuple[WorkerStatus, ...]

    @property
    def living(self) -> int:
        """Number of living workers."""
        return sum(worker.alive for worker in self.workers)


@dataclass(frozen=True)
class CatalogueStatus:
    """Figures from the catalogue. Durations are in ms, or None if nothing is done yet."""

    totals: Mapping[str, int]
    durations: Mapping[str, int | None]
    per_minute: int
    unfinished: int
    oldest_s: float
    minutes: tuple[Minute, ...]
    paused: frozenset[str] = frozenset()  # stages
    webhooks: tuple[EndpointStats, ...] = ()


@dataclass(frozen=True)
class Snapshot:
    """The system's status. An unreachable part is None, and its `…_away_s` is the duration of the outage."""

    queue: QueueCounts | None
    catalogue_status: CatalogueStatus | None
    queue_away_s: float = 0.0
    catalogue_away_s: float = 0.0
    circuit_open: bool = False
    spool: SpoolStatus = NOTHING_SPOOLED


Watcher = Callable[[Snapshot], None]


@dataclass
class SnapshotReader:
    """Takes snapshots, one at a time, in the calling thread."""

    clock: Callable[[], float] = time.monotonic
    _minutes: dict[int, Minute] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self._redis_outage = Outage("redis", logged=False, clock=self.clock)
        self._catalogue_outage = Outage("catalogue", logged=False, clock=self.clock)

    def read(self) -> Snapshot:
        """Reads Redis, with at most 0.25 s for each answer, and the catalogue, with the timeouts of the hook."""
        queue, catalogue_status = self._read_queue(), self._read_catalogue()
        return Snapshot(
            queue,
            catalogue_status,
            _outage_s(self._redis_outage, answered=queue is not None),
            _outage_s(self._catalogue_outage, answered=catalogue_status is not None),
            hook().breaker.is_open,
            _spool_status(),
        )

    def _read_queue(self) -> QueueCounts | None:
        listener_hook = hook()
        if listener_hook.breaker.is_open:
            return None
        try:
            return QueueCounts(listener_hook.queue.stats.counts(), tuple(workers(listener_hook.queue)))
        except (redis.RedisError, OSError):
            return None

    def _read_catalogue(self) -> CatalogueStatus | None:
        catalogue, endpoints = hook().services.catalogue, services().webhooks.endpoints
        try:
            totals = catalogue.totals()
            return CatalogueStatus(
                totals,
                catalogue.statistics.durations(),
                catalogue.statistics.per_minute(),
                _unfinished(catalogue.statistics, totals),
                catalogue.statistics.oldest_unfinished_s(),
                self._newest_minutes(catalogue.now()),
                frozenset(pause.name for pause in catalogue.pauses.all() if pause.kind == "stage"),
                tuple(catalogue.deliveries.endpoint_stats(endpoints)),
            )
        except PipelineError:
            return None

    def _newest_minutes(self, now: int) -> tuple[Minute, ...]:
        first = now - now % MINUTE_MS - (SHOWN_MINUTES - 1) * MINUTE_MS
        known = [at for at in self._minutes if at >= first]
        since = max(first, max(known) - LATE_MINUTES * MINUTE_MS) if known else first
        fresh = hook().services.catalogue.statistics.minutes(since, now)
        self._minutes = {at: self._minutes[at] for at in known} | {minute.at: minute for minute in fresh}
        return tuple(self._minutes[at] for at in sorted(self._minutes))


def _unfinished(statistics: Statistics, totals: Mapping[str, int]) -> int:
    """The number of unfinished attachments; for a long backlog at least so many.

    The totals alone are too low: an attachment that ended, was replayed and ended again is in them as two results.
    """
    counted = statistics.unfinished(limit=COUNTED)
    if counted < COUNTED:
        return counted
    return max(counted, totals["received"] - sum(totals[name] for name in ("done", "rejected", "failed", "expired")))


def _spool_status() -> SpoolStatus:
    spool = open_spool(hook().services.settings)
    return spool.status() if spool else NOTHING_SPOOLED


def _outage_s(outage: Outage, *, answered: bool) -> float:
    """Records whether the server answered; returns for how many seconds it has not."""
    if answered:
        outage.end()
    else:
        outage.begin("no answer")
    return outage.duration_s


class StatusPoller:
    """One poller for all pages of the process: polls while a page watches and gives all pages the same snapshot."""

    def __init__(self, read: Callable[[], Snapshot], *, poll_s: float = POLL_S) -> None:
        self._read_snapshot = read
        self._poll_s = poll_s
        self._watchers: set[Watcher] = set()
        self._task: asyncio.Task[None] | None = None
        self._pending: asyncio.Future[Snapshot] | None = None
        self._last: tuple[float, Snapshot] | None = None

    async def snapshot(self) -> Snapshot | None:
        """The latest snapshot, at most one polling interval old; None if a new one takes longer than PAGE_WAIT_S."""
        if self._last and time.monotonic() - self._last[0] < self._poll_s:
            return self._last[1]
        with suppress(TimeoutError):
            return await asyncio.wait_for(asyncio.shield(self._poll()), PAGE_WAIT_S)
        return None

    def watch(self, watcher: Watcher) -> None:
        """Calls the watcher with every snapshot from now on, on the event loop."""
        self._watchers.add(watcher)
        if self._task is None:
            self._task = asyncio.create_task(self._poll_forever())

    def leave(self, watcher: Watcher) -> None:
        """Removes a watcher; without watchers polling ends."""
        self._watchers.discard(watcher)
        if not self._watchers and self._task:
            self._task.cancel()
            self._task = None

    async def refresh(self) -> None:
        """Polls at once and updates all pages, after a change."""
        self._pending = None
        self._publish(await self._poll())

    async def close(self) -> None:
        """Ends polling."""
        self._watchers.clear()
        if self._task:
            self._task.cancel()
            self._task = None

    def _poll(self) -> asyncio.Future[Snapshot]:
        if self._pending is None or self._pending.done():
            self._pending = asyncio.ensure_future(self._read())
        return self._pending

    async def _read(self) -> Snapshot:
        snapshot = await run_in_threadpool(self._read_snapshot)
        self._last = (time.monotonic(), snapshot)
        return snapshot

    async def _poll_forever(self) -> None:
        while True:
            try:
                self._publish(await asyncio.shield(self._poll()))
            except Exception as error:  # noqa: BLE001  (edge of a task that must not die; it polls again)
                log.warning("dashboard poll failed", error=type(error).__name__)
            await asyncio.sleep(self._poll_s)

    def _publish(self, snapshot: Snapshot) -> None:
        for watcher in list(self._watchers):
            try:
                watcher(snapshot)
            except Exception as error:  # noqa: BLE001  (one broken page must not keep the snapshot from the others)
                log.warning("dashboard page could not be updated", error=type(error).__name__)


STATUS_POLLER = StatusPoller(SnapshotReader().read)
