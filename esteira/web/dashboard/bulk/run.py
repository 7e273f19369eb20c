"""A bulk action in the background: at a bounded rate, independent of open pages."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator
from dataclasses import dataclass, field

import redis
import structlog
from starlette.concurrency import run_in_threadpool

from actors.operations.audit import AuditEntry
from esteira.web.dashboard.bulk.actions import BulkAction
from esteira.web.dashboard.bulk.selections import BulkSelection
from pipeline.errors import Code, PermanentError, PipelineError
from pipeline.security.callers import Caller
from pipeline.services import services

RATES = (1, 5, 20, 100)  # attachments a second
MISSED_SHOWN = 20

log = structlog.get_logger(__name__)


@dataclass
class BulkRun:
    """One bulk action. `missed` are the first few ids that it did not apply to any more.

    `fault` is the error that ended it, `entry` is its entry in the audit log, which is begun already.
    """

    action: BulkAction
    selection: BulkSelection
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
        """Stops after the current attachment; what is done stays done. `by` is the name of who stops it."""
        self.entry.note(stopped_by=by)
        self.stopped = True

    async def run(self) -> None:
        """Works on the selection until it is done, stopped, or the catalogue, Redis or storage is unreachable."""
        ended: BaseException | None = None
        try:
            await self._perform_all()
        except (PipelineError, redis.RedisError) as error:
            self.fault = ended = error
            log.warning("bulk action ended by an error", action=self.action.name, sent=self.sent, total=self.total)
        except BaseException as error:  # the app stops: the entry gets the count so far
            ended = error
            raise
        finally:
            self.entry.note(missed=self.missed_count)
            await asyncio.shield(run_in_threadpool(self.entry.complete, ended, interrupted=self.stopped))
            self.finished = True

    async def _perform_all(self) -> None:
        async for media_id in self._selected_ids():
            await self._wait_for_turn()
            if self.stopped:
                return
            await self._perform(media_id)

    async def _selected_ids(self) -> AsyncIterator[str]:
        pages = self.selection.pages(services().catalogue, self.action)
        while (page := await run_in_threadpool(next, pages, None)) is not None:
            for media_id in page:
                yield media_id

    async def _wait_for_turn(self) -> None:
        due = self.began + self.tried / self.rate
        while not self.stopped and (left := due - time.monotonic()) > 0:
            await asyncio.sleep(min(left, 0.2))

    async def _perform(self, media_id: str) -> None:
        try:
            await run_in_threadpool(self._perform_one, media_id)
        except PermanentError as error:
            if error.code not in self.action.misses:
                raise
            self.missed_count += 1
            if len(self.missed) < MISSED_SHOWN:
                self.missed.append(media_id)
        else:
            self.sent += 1

    def _perform_one(self, media_id: str) -> None:
        record = services().catalogue.get(media_id)
        if record is None or not self.selection.caller.sees(record):
            raise PermanentError(Code.NOT_FOUND, "unknown: there is no such attachment")
        self.action.perform(media_id)
        self.entry.advance()


class BulkRuns:
    """The bulk actions of this process, one at a time. The last one stays visible until it is dismissed."""

    def __init__(self) -> None:
        self.last: BulkRun | None = None
        self._task: asyncio.Task[None] | None = None

    @property
    def running(self) -> bool:
        return self.last is not None and not self.last.finished

    def start(self, run: BulkRun) -> bool:
        """Starts a run on the running event loop; False while another one is in progress."""
        if self.running:
            return False
        self.last = run
        self._task = asyncio.get_running_loop().create_task(run.run())
        return True

    def visible_to(self, caller: Caller) -> BulkRun | None:
        """The last run, if this caller started it or sees all sessions."""
        last = self.last
        return last if last and (caller.scope.is_all or last.selection.caller.name == caller.name) else None

    def dismiss(self) -> None:
        """Forgets the results of the last run."""
        if not self.running:
            self.last = None


BULK_RUNS = BulkRuns()
