"""A round of replays: many go again at a bounded rate, in the background, whoever looks on."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Iterator, Sequence
from dataclasses import dataclass, field

import redis
import structlog
from starlette.concurrency import run_in_threadpool

from actors.operations.replay import REPLAYABLE, replay_without_waiting
from pipeline.catalogue import Catalogue, Filters
from pipeline.errors import Code, PermanentError, PipelineError
from pipeline.models import Record, Stage, Status
from pipeline.services import services

RATES = (1, 5, 20, 100)  # a second
PAGE = 200
MISSED_SHOWN = 20

log = structlog.get_logger(__name__)


@dataclass(frozen=True)
class Choice:
    """What is to go again: whole groups (code, stage) received since (Unix ms), and single ids."""

    groups: tuple[tuple[str, Stage], ...] = ()
    ids: tuple[str, ...] = ()
    since: int = 0

    def filters(self) -> Iterator[Filters]:
        """One for every group and every status that can go again."""
        for code, stage in self.groups:
            for status in REPLAYABLE:
                yield Filters(status=status, error=code, stage=stage, since=self.since)


@dataclass(frozen=True)
class Forecast:
    """What a round would do, by where its attachments would begin: `resumed` where they failed, the others at fetch."""

    resumed: int = 0
    fetched: int = 0
    expired: int = 0  # of those at fetch: their source was gone

    @property
    def total(self) -> int:
        return self.resumed + self.fetched


def forecast(catalogue: Catalogue, choice: Choice) -> Forecast:
    """Counts what would go. Raises what a catalogue does."""
    counts = dict.fromkeys(REPLAYABLE, 0)
    for filters in choice.filters():
        assert filters.status
        counts[filters.status] += catalogue.count(filters)
    for record in filter(None, map(catalogue.get, choice.ids)):
        if record.status in counts and not _within(record, choice):
            counts[record.status] += 1
    expired = counts[Status.EXPIRED]
    return Forecast(counts[Status.FAILED], counts[Status.REJECTED] + expired, expired)


@dataclass
class Round:
    """One round. `missed` are those that could not go, the first few of them; `fault` is what ended it early."""

    choice: Choice
    total: int
    rate: int
    sent: int = 0
    missed_count: int = 0
    missed: list[str] = field(default_factory=list)
    fault: Exception | None = None
    stopped: bool = False
    over: bool = False
    began: float = field(default_factory=time.monotonic)

    @property
    def tried(self) -> int:
        return self.sent + self.missed_count

    def stop(self) -> None:
        """Nothing more goes; what was sent stays sent."""
        self.stopped = True

    async def run(self) -> None:
        """Sends them, the newest first, until all were, it is stopped, or catalogue and Redis are out of reach."""
        try:
            async for media_id in self._chosen():
                await self._pace()
                if self.stopped:
                    return
                await self._send(media_id)
        except (PipelineError, redis.RedisError) as error:
            self.fault = error
            log.warning("a round of replays broke off", sent=self.sent, total=self.total)
        finally:
            self.over = True

    async def _chosen(self) -> AsyncIterator[str]:
        seen: set[str] = set()
        for filters in self.choice.filters():
            after: tuple[int, str] | None = None
            while page := await run_in_threadpool(_page, filters, after):
                for record in page:
                    seen.add(record.id)
                    yield record.id
                after = page[-1].received_at, page[-1].id
        for media_id in self.choice.ids:
            if media_id not in seen:
                yield media_id

    async def _pace(self) -> None:
        due = self.began + self.tried / self.rate
        while not self.stopped and (left := due - time.monotonic()) > 0:
            await asyncio.sleep(min(left, 0.2))

    async def _send(self, media_id: str) -> None:
        try:
            await run_in_threadpool(replay_without_waiting, media_id)
        except PermanentError as error:
            if error.code not in {Code.NOT_FOUND, Code.NOT_ENDED}:
                raise
            self.missed_count += 1
            if len(self.missed) < MISSED_SHOWN:
                self.missed.append(media_id)
        else:
            self.sent += 1


class BulkReplay:
    """The rounds of this process, one at a time: kept for whoever loads the page anew, and ended with the process."""

    def __init__(self) -> None:
        self.last: Round | None = None
        self._task: asyncio.Task[None] | None = None

    @property
    def running(self) -> bool:
        return self.last is not None and not self.last.over

    def begin(self, choice: Choice, *, total: int, rate: int) -> Round | None:
        """Begins a round on the running loop; None while another is under way."""
        if self.running:
            return None
        self.last = Round(choice, total, rate)
        self._task = asyncio.get_running_loop().create_task(self.last.run())
        return self.last

    def forget(self) -> None:
        """Puts the results of the last one away."""
        if not self.running:
            self.last = None


def _page(filters: Filters, after: tuple[int, str] | None) -> Sequence[Record]:
    return services().catalogue.find(filters, limit=PAGE, after=after)


def _within(record: Record, choice: Choice) -> bool:
    return (record.error_code, record.stage) in choice.groups and record.received_at >= choice.since


ROUNDS = BulkReplay()
