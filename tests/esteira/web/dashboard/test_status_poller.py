"""The status poller: one read for all pages, none without pages, and outages with their duration."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from esteira.web.dashboard.status_poller import Snapshot, SnapshotReader, StatusPoller
from pipeline.models import Status
from tests.support.catalogues import claimed, failure, finished
from tests.support.system import RunningSystem
from tests.support.valkey import ValkeyServer

NOTHING = Snapshot(None, None)


class CountedReads:
    """Counts the reads and records their threads."""

    def __init__(self, *, pause_s: float = 0) -> None:
        self.count = 0
        self.threads: set[int] = set()
        self._pause_s = pause_s

    def __call__(self) -> Snapshot:
        self.count += 1
        self.threads.add(threading.get_ident())
        time.sleep(self._pause_s)
        return NOTHING


async def until(holds: Callable[[], object], *, within_s: float = 10) -> None:
    deadline = time.monotonic() + within_s
    while not holds():
        assert time.monotonic() < deadline
        await asyncio.sleep(0.01)


def test_watchers_share_one_read_off_the_event_loop() -> None:
    async def main() -> None:
        reads = CountedReads()
        poller = StatusPoller(reads, poll_s=0.05)
        seen: list[list[Snapshot]] = [[], [], []]
        for one in seen:
            poller.watch(one.append)
        await until(lambda: all(len(one) >= 3 for one in seen))
        assert abs(reads.count - len(seen[0])) <= 1
        assert threading.get_ident() not in reads.threads
        await poller.close()

    asyncio.run(main())


def test_polling_stops_without_watchers() -> None:
    async def main() -> None:
        reads = CountedReads()
        poller = StatusPoller(reads, poll_s=0.02)
        seen: list[Snapshot] = []
        poller.watch(seen.append)
        await until(lambda: len(seen) >= 2)
        poller.leave(seen.append)
        await asyncio.sleep(0.05)
        before = reads.count
        await asyncio.sleep(0.2)
        assert reads.count == before
        poller.watch(seen.append)
        await until(lambda: reads.count > before)
        await poller.close()

    asyncio.run(main())


def test_failing_watcher_does_not_affect_others() -> None:
    async def main() -> None:
        poller = StatusPoller(CountedReads(), poll_s=0.02)
        seen: list[Snapshot] = []

        def broken(_: Snapshot) -> None:
            raise RuntimeError

        poller.watch(broken)
        poller.watch(seen.append)
        await until(lambda: len(seen) >= 3)
        await poller.close()

    asyncio.run(main())


def test_snapshot_returns_none_when_reading_takes_too_long() -> None:
    async def main() -> None:
        reads = CountedReads(pause_s=1.5)
        poller = StatusPoller(reads)
        began = time.monotonic()
        assert await poller.snapshot() is None
        assert time.monotonic() - began < 1.4
        await until(lambda: poller._last)
        assert await poller.snapshot() is NOTHING
        assert reads.count == 1

    asyncio.run(main())


@pytest.fixture
def own_system(own_valkey: ValkeyServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> RunningSystem:
    system = RunningSystem(tmp_path, own_valkey.url, {})
    monkeypatch.setattr("esteira.web.dashboard.status_poller.hook", lambda: system.hook)
    return system


def test_reader_measures_outages_of_redis(own_system: RunningSystem, own_valkey: ValkeyServer) -> None:
    now = [100.0]
    reader = SnapshotReader(clock=lambda: now[0])
    found = reader.read()
    assert found.queue
    assert found.catalogue_status
    assert found.queue.counts["fetch"] == {"ready": 0, "delayed": 0, "running": 0, "dead": 0}
    assert len(found.catalogue_status.minutes) == 60
    own_valkey.stop()
    reader.read()
    now[0] += 30
    found = reader.read()
    assert (found.queue, found.queue_away_s, found.catalogue_away_s) == (None, 30, 0)
    own_valkey.start()
    found = reader.read()
    assert found.queue
    assert found.queue_away_s == 0
    own_system.close()


def test_reader_reads_only_the_newest_minutes_again(own_system: RunningSystem, monkeypatch: pytest.MonkeyPatch) -> None:
    figures = own_system.hook.services.catalogue.statistics
    requested: list[int] = []
    whole = figures.minutes

    def minutes(since: int, until: int) -> object:
        requested.append((until - since) // 60_000)
        return whole(since, until)

    monkeypatch.setattr(figures, "minutes", minutes)
    reader = SnapshotReader()
    reader.read()
    found = reader.read()
    assert found.catalogue_status
    assert requested[0] == 59
    assert requested[1] <= 3
    ats = [one.at for one in found.catalogue_status.minutes]
    assert ats == sorted(ats)
    assert len(ats) in {60, 61}
    own_system.close()


def test_reader_counts_a_replayed_attachment_among_the_unfinished(
    own_system: RunningSystem, monkeypatch: pytest.MonkeyPatch
) -> None:
    catalogue = own_system.services.catalogue
    again = finished(catalogue, Status.FAILED, of=own_system.attachment(url="http://media.example/a"))
    catalogue.reopen(again.id)
    claim = claimed(catalogue, again.id)
    catalogue.mark_failed(claim, failure())
    catalogue.finish(claim, announced=True)
    own_system.submit(url="http://media.example/b")
    found = SnapshotReader().read().catalogue_status
    assert found
    assert (found.totals["received"], found.totals["failed"], found.unfinished) == (2, 2, 1)
    monkeypatch.setattr("esteira.web.dashboard.status_poller.COUNTED", 1)
    found = SnapshotReader().read().catalogue_status
    assert found
    assert found.unfinished == 1
    own_system.close()
