"""What happens to a crew whose worker dies, is told to stop, or has somebody aboard that takes long."""

from __future__ import annotations

import time
from collections.abc import Callable

from pipeline.models import Status
from tests.support.media_server import MediaServer
from tests.support.system import RunningSystem, Workers, photo
from tests.support.waiting import wait_until

BECALMED = "tests.support.blocking_files"
DONE = (Status.DONE, None)


def fetched(workers: Workers) -> int:
    """How many have left fetch and wait for those that lead."""
    return sum(said["stage"] == "fetch" for said in workers.logged("stage done"))


def test_deaths_with_a_crew_aboard_make_nobody_poison_who_had_not_begun(system: RunningSystem) -> None:
    aboard = 10
    with MediaServer({"held": photo()}) as server:
        ids = [system.submit(url=server.url("held")).id for _ in range(aboard)]
        begun = [aboard, 1, 1]  # what is suspect is begun one at a time
        for number in begun:
            with system.workers(module=BECALMED) as workers:
                wait_until(lambda: fetched(workers) >= number, 30)  # noqa: B023
                time.sleep(0.1)
                assert fetched(workers) == number
                workers.kill()
            system.reap_dead_workers()
        marks = sorted(map(int, system.queue.client.hvals(system.queue.keys.crashes)))  # type: ignore[arg-type]
        assert sum(mark > 1 for mark in marks) <= 2
        assert sum(marks) == aboard + 2
        (system.folder / "go").touch()
        with system.workers():
            records = system.wait_finished(*ids, within_s=60)
    # Nobody can tell the one that had begun twice from a guilty one; all others are known to be innocent.
    assert sum((record.status, record.error_code) == DONE for record in records) >= aboard - 1
    assert {(record.status, record.error_code) for record in records} <= {DONE, (Status.FAILED, "poison")}


def test_one_that_takes_long_when_its_worker_stops_goes_on_at_once_elsewhere(system: RunningSystem) -> None:
    with MediaServer({"held": photo(), "slow": photo(), "quick": photo()}) as server:
        with system.workers(module=BECALMED) as workers:
            held = system.submit(url=server.url("held")).id
            wait_until(lambda: fetched(workers) == 1, 30)
            slow, quick = (system.submit(url=server.url(name)).id for name in ("slow", "quick"))
            wait_until(lambda: fetched(workers) == 3, 30)
            (system.folder / "go").touch()
            system.wait_finished(held, quick)
            assert not system.record(slow).finished_at
            workers.stop()
        assert not system.queue.client.hlen(system.queue.keys.crashes)
        with system.workers():
            [record] = system.wait_finished(slow, within_s=system.settings.claim_lease_s / 2)
        assert (record.status, record.error_code) == DONE
        assert server.hits("slow") == 1


def test_nobody_waits_until_a_large_one_is_stored(make_system: Callable[..., RunningSystem]) -> None:
    system = make_system(large_file_mb="1")
    with MediaServer({"large": photo(size=(1920, 1440)), "small": photo()}) as server:
        assert len(server.files["large"]) > 1_000_000
        with system.workers(module=BECALMED):
            large = system.submit(url=server.url("large")).id
            wait_until(lambda: server.hits("large"), 30)
            system.wait_finished(*(system.submit(url=server.url("small")).id for _ in range(3)))
            assert not system.record(large).finished_at
            (system.folder / "go").touch()
            [record] = system.wait_finished(large)
    assert (record.status, record.error_code) == DONE
