"""Bulk replay: replays many attachments at a bounded rate in the background, independent of open pages."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

import redis
import structlog
from starlette.concurrency import run_in_threadpool

from actors.operations.audit import AuditEntry
from actors.operations.replay import REPLAYABLE, replay_without_waiting
from pipeline.catalogue import Catalogue, Filters
from pipeline.errors import Code, PermanentError, PipelineError
from pipeline.models import Record, Stage, Status
from pipeline.security.callers import ANONYMOUS, Caller
from pipeline.security.scopes import Scope
from pipeline.services import services

RATES = (1, 5, 20, 100)  # replays a second
PAGE = 200
MISSED_SHOWN = 20

log = structlog.get_logger(__name__)


@dataclass(frozen=True)
class ReplaySelection:
    """What to replay: whole groups (code, stage) received since a time (Unix ms), and single ids.

    Only attachments that the `caller` sees are replayed.
    """

    groups: tuple[tuple[str, Stage], ...] = ()
    ids: tuple[str, ...] = ()
    since: int = 0
    caller: Caller = ANONYMOUS

    def audit_target(self) -> dict[str, Any]:
        """What the audit log says about a replay of this selection."""
        groups = [f"{code}:{stage}" for code, stage in self.groups]
        return {"groups": groups, "ids": self.ids, "since": self.since if groups else None}

    def filters(self) -> Iterator[Filters]:
        """One filter for each group and each status that can be replayed."""
        for code, stage in self.groups:
            for status in REPLAYABLE:
                yield Filters(status=status, error=code, stage=stage, since=self.since)


@dataclass(frozen=True)
class ReplayForecast:
    """What a replay would do: how many resume at the failed stage, and how many start at fetch."""

    resumed: int = 0
    fetched: int = 0
    expired: int = 0  # of those at fetch: their source is gone

    @property
    def total(self) -> int:
        return self.resumed + self.fetched


def forecast(catalogue: Catalogue, selection: ReplaySelection) -> ReplayForecast:
    """Counts the attachments of a selection.

    Raises:
        PipelineError: the catalogue cannot be reached.
    """
    counts = dict.fromkeys(REPLAYABLE, 0)
    for filters in selection.filters():
        assert filters.status
        counts[filters.status] += catalogue.count(filters, scope=selection.caller.scope)
    for record in filter(None, map(catalogue.get, selection.ids)):
        if record.status in counts and selection.caller.sees(record) and not _within(record, selection):
            counts[record.status] += 1
    expired = counts[Status.EXPIRED]
    return ReplayForecast(counts[Status.FAILED], counts[Status.REJECTED] + expired, expired)


@dataclass
class ReplayRun:
    """One bulk replay. `missed` are the first few ids that could not be replayed, `fault` the error that ended it.

    `entry` is its entry in the audit log, which is begun already.
    """

    selection: ReplaySelection
    total: int
    rate: int
    entry: AuditEntry
    sent: int = 0
    missed_count: int = 0
    missed: list[str] = field(default_factory=list)
    fault: Exception | None = None
    stopped: bool = False
    finished: bool = False
    began: float = field(default_factory=time.monotonic)

    @property
    def tried(self) -> int:
        return self.sent + self.missed_count

    def stop(self, *, by: str) -> None:
        """Stops after the current attachment; replayed ones stay replayed. `by` is the name of who stops it."""
        self.entry.note(stopped_by=by)
        self.stopped = True

    async def run(self) -> None:
        """Replays the selection, the newest first, until it is done, stopped, or catalogue or Redis is unreachable."""
        ended: BaseException | None = None
        try:
            await self._replay_all()
        except (PipelineError, redis.RedisError) as error:
            self.fault = ended = error
            log.warning("bulk replay ended by an error", sent=self.sent, total=self.total)
        except BaseException as error:  # the app stops: the entry gets the count so far
            ended = error
            raise
        finally:
            self.entry.note(missed=self.missed_count)
            await asyncio.shield(run_in_threadpool(self.entry.complete, ended, interrupted=self.stopped))
            self.finished = True

    async def _replay_all(self) -> None:
        async for media_id in self._selected_ids():
            await self._wait_for_turn()
            if self.stopped:
                return
            await self._replay(media_id)

    async def _selected_ids(self) -> AsyncIterator[str]:
        seen: set[str] = set()
        for filters in self.selection.filters():
            after: tuple[int, str] | None = None
            while page := await run_in_threadpool(_page, filters, after, self.selection.caller.scope):
                for record in page:
                    seen.add(record.id)
                    yield record.id
                after = page[-1].received_at, page[-1].id
        for media_id in self.selection.ids:
            if media_id not in seen:
                yield media_id

    async def _wait_for_turn(self) -> None:
        due = self.began + self.tried / self.rate
        while not self.stopped and (left := due - time.monotonic()) > 0:
            await asyncio.sleep(min(left, 0.2))

    async def _replay(self, media_id: str) -> None:
        try:
            await run_in_threadpool(self._replay_one, media_id)
        except PermanentError as error:
            if error.code not in {Code.NOT_FOUND, Code.NOT_ENDED}:
                raise
            self.missed_count += 1
            if len(self.missed) < MISSED_SHOWN:
                self.missed.append(media_id)
        else:
            self.sent += 1

    def _replay_one(self, media_id: str) -> None:
        _replay_visible(media_id, self.selection.caller)
        self.entry.advance()


class BulkReplay:
    """The bulk replays of this process, one at a time. The last one stays visible until it is dismissed."""

    def __init__(self) -> None:
        self.last: ReplayRun | None = None
        self._task: asyncio.Task[None] | None = None

    @property
    def running(self) -> bool:
        return self.last is not None and not self.last.finished

    def start(self, selection: ReplaySelection, entry: AuditEntry, *, total: int, rate: int) -> ReplayRun | None:
        """Starts a replay on the running event loop; None while another one is in progress."""
        if self.running:
            return None
        self.last = ReplayRun(selection, total, rate, entry)
        self._task = asyncio.get_running_loop().create_task(self.last.run())
        return self.last

    def visible_to(self, caller: Caller) -> ReplayRun | None:
        """The last replay, if this caller started it or sees all sessions."""
        last = self.last
        return last if last and (caller.scope.is_all or last.selection.caller.name == caller.name) else None

    def dismiss(self) -> None:
        """Forgets the results of the last replay."""
        if not self.running:
            self.last = None


def _page(filters: Filters, after: tuple[int, str] | None, scope: Scope) -> Sequence[Record]:
    return services().catalogue.find(filters, limit=PAGE, after=after, scope=scope)


def _replay_visible(media_id: str, caller: Caller) -> None:
    """Replays an attachment that the caller sees. Raises PermanentError: `not_found` for others."""
    record = services().catalogue.get(media_id)
    if record is None or not caller.sees(record):
        raise PermanentError(Code.NOT_FOUND, "unknown: there is no such attachment")
    replay_without_waiting(media_id)


def _within(record: Record, selection: ReplaySelection) -> bool:
    return (record.error_code, record.stage) in selection.groups and record.received_at >= selection.since


BULK_REPLAY = BulkReplay()
