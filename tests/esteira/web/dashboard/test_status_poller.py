"""The figures of the dashboard: one look for all who watch, none while nobody does, and what is away is said."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from esteira.web.dashboard.status_poller import Looker, Snapshot, StatusPoller
from tests.support.system import RunningSystem
from tests.support.valkey import ValkeyServer

NOTHING = Snapshot(None, None)


class Looks:
    """Counts how often it was looked, and in which threads."""

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


def test_all_who_watch_share_one_look_off_the_event_loop() -> None:
    async def main() -> None:
        looks = Looks()
        sampler = StatusPoller(looks, every_s=0.05)
        seen: list[list[Snapshot]] = [[], [], []]
        for one in seen:
            sampler.watch(one.append)
        await until(lambda: all(len(one) >= 3 for one in seen))
        assert abs(looks.count - len(seen[0])) <= 1
        assert threading.get_ident() not in looks.threads
        await sampler.close()

    asyncio.run(main())


def test_nobody_looks_while_nobody_watches() -> None:
    async def main() -> None:
        looks = Looks()
        sampler = StatusPoller(looks, every_s=0.02)
        seen: list[Snapshot] = []
        sampler.watch(seen.append)
        await until(lambda: len(seen) >= 2)
        sampler.leave(seen.append)
        assert not sampler.watched
        await asyncio.sleep(0.05)
        before = looks.count
        await asyncio.sleep(0.2)
        assert looks.count == before
        sampler.watch(seen.append)
        await until(lambda: looks.count > before)
        await sampler.close()

    asyncio.run(main())


def test_a_page_that_breaks_keeps_no_other_from_its_figures() -> None:
    async def main() -> None:
        sampler = StatusPoller(Looks(), every_s=0.02)
        seen: list[Snapshot] = []

        def broken(_: Snapshot) -> None:
            raise RuntimeError

        sampler.watch(broken)
        sampler.watch(seen.append)
        await until(lambda: len(seen) >= 3)
        await sampler.close()

    asyncio.run(main())


def test_a_page_does_not_wait_long_for_figures() -> None:
    async def main() -> None:
        looks = Looks(pause_s=1.5)
        sampler = StatusPoller(looks)
        began = time.monotonic()
        assert await sampler.snapshot() is None
        assert time.monotonic() - began < 1.4
        await until(lambda: sampler._last)
        assert await sampler.snapshot() is NOTHING
        assert looks.count == 1

    asyncio.run(main())


@pytest.fixture
def own_system(own_valkey: ValkeyServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> RunningSystem:
    system = RunningSystem(tmp_path, own_valkey.url, {})
    monkeypatch.setattr("esteira.web.dashboard.status_poller.hook", lambda: system.hook)
    return system


def test_what_is_away_is_said_with_how_long_and_comes_back(own_system: RunningSystem, own_valkey: ValkeyServer) -> None:
    now = [100.0]
    looker = Looker(clock=lambda: now[0])
    found = looker.look()
    assert found.belt
    assert found.rows
    assert found.belt.counts["fetch"] == {"ready": 0, "delayed": 0, "running": 0, "dead": 0}
    assert len(found.rows.minutes) == 60
    own_valkey.stop()
    looker.look()
    now[0] += 30
    found = looker.look()
    assert (found.belt, found.belt_away_s, found.rows_away_s) == (None, 30, 0)
    own_valkey.start()
    found = looker.look()
    assert found.belt
    assert found.belt_away_s == 0
    own_system.close()


def test_of_the_last_hour_only_the_newest_minutes_are_asked_for_again(
    own_system: RunningSystem, monkeypatch: pytest.MonkeyPatch
) -> None:
    figures = own_system.hook.services.catalogue.statistics
    asked: list[int] = []
    whole = figures.minutes

    def minutes(since: int, until: int) -> object:
        asked.append((until - since) // 60_000)
        return whole(since, until)

    monkeypatch.setattr(figures, "minutes", minutes)
    looker = Looker()
    looker.look()
    found = looker.look()
    assert found.rows
    assert asked[0] == 59
    assert asked[1] <= 3
    ats = [one.at for one in found.rows.minutes]
    assert ats == sorted(ats)
    assert len(ats) in {60, 61}
    own_system.close()
