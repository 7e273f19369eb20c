"""What happens when Redis returns: what was accepted meanwhile, or was lost, is enqueued at once, and once.

The periodic requeue scan is set to wait for ten minutes, so it has no part in these results.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from actors.intake import requeue_scan, return_scan
from actors.intake.requeue_scan import requeue_lost
from actors.intake.return_scan import scan_after_return
from pipeline.models import Status
from tests.support.media_server import Answer, MediaServer
from tests.support.system import RunningSystem, photo
from tests.support.valkey import ValkeyServer
from tests.support.waiting import wait_until

NO_PERIODIC_SCAN = {"SWEEP_AFTER_S": "600", "MEDIA_BACKOFF_MS": "50"}
SPOOL = {**NO_PERIODIC_SCAN, "FALLBACK": "spool"}
NOWHERE = "redis://127.0.0.1:1/0"
WITHIN_S = 60  # for workers on a busy machine


@pytest.fixture
def make_own(own_valkey: ValkeyServer, tmp_path: Path) -> Iterator[Callable[..., RunningSystem]]:
    made: list[RunningSystem] = []

    def make(**settings: str) -> RunningSystem:
        made.append(RunningSystem(tmp_path, own_valkey.url, settings))
        return made[-1]

    yield make
    for system in made:
        system.close()


def ready(system: RunningSystem) -> int:
    return system.queue.stats.counts()["fetch"]["ready"]


def spool(system: RunningSystem, number: int, url: str = "https://media.example/{}.jpg") -> list[str]:
    receipts = [system.submit(url=url.format(n)) for n in range(number)]
    assert {receipt.mode for receipt in receipts} == {"spooled"}
    return [receipt.id for receipt in receipts]


@pytest.mark.parametrize("fault", ["stop", "pause", "wipe"])
def test_listener_enqueues_what_it_has_spooled(
    make_own: Callable[..., RunningSystem], own_valkey: ValkeyServer, fault: str
) -> None:
    system = make_own(**SPOOL)
    own_valkey.pause() if fault == "pause" else own_valkey.stop()
    ids = spool(system, 7)
    if fault == "wipe":
        own_valkey.wipe()
    own_valkey.resume() if fault == "pause" else own_valkey.start()
    wait_until(lambda: ready(system) == 7, 8)
    order = [message.key for message in system.queue.fetch("test", 7, ["fetch"]).messages]
    assert order == sorted(ids, key=lambda media_id: (system.record(media_id).received_at, media_id))


def test_worker_enqueues_what_an_ended_listener_has_spooled(
    make_own: Callable[..., RunningSystem], own_valkey: ValkeyServer
) -> None:
    system = make_own(**SPOOL)
    away = system.with_redis(NOWHERE)  # its probe never finds Redis, as if the listener had ended
    with MediaServer({"a.jpg": photo()}) as server, system.workers() as workers:
        wait_until(lambda: workers.logged("worker started"), WITHIN_S)
        own_valkey.kill()
        wait_until(lambda: workers.logged("server away"), WITHIN_S)
        ids = [away.submit(url=server.url("a.jpg")).id for _ in range(3)]
        own_valkey.start()
        records = system.wait_finished(*ids, within_s=WITHIN_S)
    away.close()
    assert {record.status for record in records} == {Status.DONE}


def test_worker_enqueues_what_a_wiped_redis_has_lost(
    make_own: Callable[..., RunningSystem], own_valkey: ValkeyServer
) -> None:
    system = make_own(**SPOOL)
    with system.workers(queues=("notify",)) as workers:  # it fetches nothing
        ids = [system.submit(url="https://media.example/a.jpg").id for _ in range(3)]
        wait_until(lambda: workers.logged("worker started"), WITHIN_S)
        own_valkey.client().flushall()
        wait_until(lambda: ready(system) == len(ids), 10)


def test_retry_that_a_wiped_redis_has_lost_is_enqueued(
    make_own: Callable[..., RunningSystem], own_valkey: ValkeyServer
) -> None:
    system = make_own(**SPOOL)
    with MediaServer({"a.jpg": photo()}, delay_s=3) as server, system.workers() as workers:
        server.answers["a.jpg"] = [Answer(500), Answer(200, body=photo())]
        receipt = system.submit(url=server.url("a.jpg"))
        wait_until(lambda: server.hits("a.jpg"), 10)
        own_valkey.client().flushall()
        [record] = system.wait_finished(receipt.id, within_s=WITHIN_S)
        assert workers.logged("taken over by another worker")
    assert (record.status, server.hits("a.jpg")) == (Status.DONE, 2)


def test_attempt_that_fails_in_the_listener_after_the_return_is_enqueued(
    make_own: Callable[..., RunningSystem], own_valkey: ValkeyServer
) -> None:
    system = make_own(**NO_PERIODIC_SCAN)
    with MediaServer({}, delay_s=3) as server:
        server.answers["a.jpg"] = [Answer(500)]
        own_valkey.pause()
        fallback = threading.Thread(target=system.submit, kwargs={"url": server.url("a.jpg")})
        fallback.start()
        wait_until(lambda: server.hits("a.jpg"), 10)
        own_valkey.resume()
        wait_until(lambda: not system.hook.breaker.is_open, 5)
        wait_until(lambda: system.queue.scan_notes.last_began_ms() > 0, 5)
        assert ready(system) == 0  # the listener holds it
        fallback.join(20)
    wait_until(lambda: ready(system) + system.queue.stats.counts()["fetch"]["delayed"] == 1, 5)


@pytest.mark.slow
def test_listeners_and_workers_that_return_together_download_each_file_once(
    make_own: Callable[..., RunningSystem], own_valkey: ValkeyServer
) -> None:
    first, second = make_own(**SPOOL), make_own(**SPOOL)
    names = [f"{number}.jpg" for number in range(120)]
    with MediaServer({name: photo() for name in names}) as server, first.workers(processes=2) as workers:
        wait_until(lambda: len(workers.logged("worker started")) == 2, WITHIN_S)
        own_valkey.kill()
        wait_until(lambda: len(workers.logged("server away")) == 2, WITHIN_S)
        ids = [system.submit(url=server.url(name)).id for name, system in zip(names, [first, second] * 60, strict=True)]
        own_valkey.start()
        records = first.wait_finished(*ids, within_s=WITHIN_S)
        hits = [server.hits(name) for name in names]
    assert {record.status for record in records} == {Status.DONE}
    assert hits == [1] * 120


def test_one_process_scans_at_a_time_and_its_scan_counts_for_those_that_waited(
    system: RunningSystem, monkeypatch: pytest.MonkeyPatch
) -> None:
    away = system.with_redis(NOWHERE)
    spool_all = [away.hook.accept(away.attachment(url=f"http://127.0.0.1:9/{n}")).id for n in range(5)]
    running, most, scans = 0, 0, 0
    lock = threading.Lock()

    def counted(*args: object, **options: object) -> int:
        nonlocal running, most, scans
        with lock:
            running, scans = running + 1, scans + 1
            most = max(most, running)
        try:
            return requeue_lost(*args, **options)  # type: ignore[arg-type]
        finally:
            with lock:
                running -= 1

    monkeypatch.setattr(return_scan, "requeue_lost", counted)
    system.queue.locks.acquire(requeue_scan.SCAN_LOCK, ttl_ms=1000)  # until then all of them wait
    counts: list[int] = []
    threads = [
        threading.Thread(target=lambda: counts.append(scan_after_return(system.services.catalogue, system.queue)))
        for _ in range(6)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(20)
    away.close()
    assert (most, scans, sorted(counts)) == (1, 1, [0, 0, 0, 0, 0, len(spool_all)])


def test_scan_of_a_backlog_goes_in_pages_and_extends_its_lock(
    system: RunningSystem, monkeypatch: pytest.MonkeyPatch
) -> None:
    away = system.with_redis(NOWHERE)
    for number in range(5):
        away.hook.accept(away.attachment(url=f"http://127.0.0.1:9/{number}"))
    away.close()
    kept: list[str] = []
    monkeypatch.setattr(return_scan, "PAGE", 2)
    monkeypatch.setattr(system.queue.locks, "extend", lambda name, ttl_ms: kept.append(name))
    assert scan_after_return(system.services.catalogue, system.queue) == 5
    assert kept == ["scan"] * 3
    assert system.queue.locks.acquire(requeue_scan.SCAN_LOCK, ttl_ms=1)  # it was released
    assert scan_after_return(system.services.catalogue, system.queue) == 0  # they are in the queue
