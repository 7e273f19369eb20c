"""A worker that was paused and replaced, and one that is stopped before its work is done."""

from __future__ import annotations

import os
import signal
import time
from pathlib import Path

import pytest

from actors.factory import build_broker
from actors.maintenance import heartbeat, reaper
from pipeline.metrics import COUNTER_BUFFER
from pipeline.models import Status
from tests.support.media_server import MediaServer
from tests.support.system import RunningSystem, photo
from tests.support.waiting import wait_until

SECRET = "whsec_c2VjcmV0LW9mLXRoZS10ZXN0LTEyMzQ1Ng=="


def family(pid: int) -> list[int]:
    """A process and its descendants."""
    children = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
    return [pid, *(descendant for child in children for descendant in family(int(child)))]


@pytest.mark.slow
def test_replaced_worker_stores_and_announces_nothing(system: RunningSystem) -> None:
    with MediaServer({"a.jpg": photo()}, delay_s=2) as server, system.workers() as frozen:
        receipt = system.submit(url=server.url("a.jpg"))
        wait_until(lambda: server.hits("a.jpg"), 10)
        stopped = family(frozen.process.pid)
        for pid in stopped:
            os.kill(pid, signal.SIGSTOP)
        server.delay_s = 0
        with system.workers() as successor:
            time.sleep(6)  # longer than a claim is taken for certain
            system.reap_dead_workers()
            [record] = system.wait_finished(receipt.id, within_s=30)
            for pid in stopped:
                os.kill(pid, signal.SIGCONT)
            wait_until(lambda: frozen.logged("taken over by another worker"), 20)
            assert successor.logged("attachment stored")
        assert not frozen.logged("attachment stored")
        assert not frozen.logged("media.done")
    assert record.status is Status.DONE
    assert system.record(receipt.id) == record
    assert len(system.stored_files()) == 1
    assert system.staged_files() == []


@pytest.mark.slow
def test_unfinished_work_runs_elsewhere_after_the_grace_period(system: RunningSystem) -> None:
    with MediaServer({"a.jpg": photo()}, delay_s=10) as server:
        with system.workers(grace_s=1) as workers:
            receipt = system.submit(url=server.url("a.jpg"))
            wait_until(lambda: server.hits("a.jpg"), 10)
            began = time.monotonic()
            assert workers.stop() == 0
            assert time.monotonic() - began < 8
        assert system.queue.stats.counts()["fetch"]["ready"] == 1
        assert system.queue.client.hlen(system.queue.keys.crashes) == 0
        server.delay_s = 0
        with system.workers():
            [record] = system.wait_finished(receipt.id, within_s=8)
    assert (record.status, record.attempts) == (Status.DONE, 0)


class Clock:
    """Replaces `time.monotonic` of the reaper."""

    def __init__(self) -> None:
        self.now = 1000.0

    def monotonic(self) -> float:
        return self.now


def test_reaper_waits_for_heartbeats_after_an_outage(system: RunningSystem, monkeypatch: pytest.MonkeyPatch) -> None:
    clock = Clock()
    monkeypatch.setattr(reaper, "time", clock)
    monkeypatch.setattr(heartbeat, "SILENCE_MS", 50)
    monkeypatch.setattr(reaper, "LOCK_MS", 1)
    beating = heartbeat.Heartbeat(build_broker(system.settings))
    COUNTER_BUFFER.drain()
    system.queue.enqueue("a", "fetch", b"1")

    def beat_with_a_silent_worker() -> int:
        system.queue.fetch("silent", 1, ["fetch"])
        time.sleep(0.1)
        clock.now += 3
        return beating.beat()

    assert [beat_with_a_silent_worker() for _ in range(4)] == [0, 0, 1, 1]
    clock.now += 30  # Redis was away
    assert [beat_with_a_silent_worker() for _ in range(4)] == [0, 0, 0, 1]
    assert COUNTER_BUFFER.drain()["esteira_taken_over_total"] == 3
