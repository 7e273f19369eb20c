"""Batches when their worker crashes or stops, and when one of their files takes long."""

from __future__ import annotations

import time
from collections.abc import Callable

from pipeline.models import Status
from tests.support.media_server import MediaServer
from tests.support.system import RunningSystem, Workers, photo
from tests.support.waiting import wait_until

BLOCKING = "tests.support.blocking_files"
DONE = (Status.DONE, None)


def fetched(workers: Workers) -> int:
    """How many deliveries have left fetch and wait for the leading threads."""
    return sum(line["stage"] == "fetch" for line in workers.logged("stage done"))


def test_crashes_during_a_batch_blame_only_deliveries_that_had_started(system: RunningSystem) -> None:
    in_batch = 10
    with MediaServer({"held": photo()}) as server:
        # Two sessions, because one alone may not fill a batch.
        ids = [system.submit(url=server.url("held"), session=f"s{n % 2}").id for n in range(in_batch)]
        started = [in_batch, 1, 1]  # suspects start one at a time
        for number in started:
            with system.workers(module=BLOCKING) as workers:
                wait_until(lambda: fetched(workers) >= number, 30)  # noqa: B023
                time.sleep(0.1)
                assert fetched(workers) == number
                workers.kill()
            system.reap_dead_workers()
        crashes = sorted(map(int, system.queue.client.hvals(system.queue.keys.crashes)))  # type: ignore[arg-type]
        assert sum(count > 1 for count in crashes) <= 2
        assert sum(crashes) == in_batch + 2
        (system.folder / "go").touch()
        with system.workers():
            records = system.wait_finished(*ids, within_s=60)
    # A delivery that ran during two crashes looks like the cause of both; all others are known not to be.
    assert sum((record.status, record.error_code) == DONE for record in records) >= in_batch - 1
    assert {(record.status, record.error_code) for record in records} <= {DONE, (Status.FAILED, "poison")}


def test_slow_file_of_a_stopped_worker_continues_at_once_in_another(system: RunningSystem) -> None:
    with MediaServer({"held": photo(), "slow": photo(), "quick": photo()}) as server:
        with system.workers(module=BLOCKING) as workers:
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


def test_small_files_do_not_wait_until_a_large_file_is_stored(make_system: Callable[..., RunningSystem]) -> None:
    system = make_system(large_file_mb="1")
    with MediaServer({"large": photo(size=(1920, 1440)), "small": photo()}) as server:
        assert len(server.files["large"]) > 1_000_000
        with system.workers(module=BLOCKING):
            large = system.submit(url=server.url("large")).id
            wait_until(lambda: server.hits("large"), 30)
            system.wait_finished(*(system.submit(url=server.url("small")).id for _ in range(3)))
            assert not system.record(large).finished_at
            (system.folder / "go").touch()
            [record] = system.wait_finished(large)
    assert (record.status, record.error_code) == DONE
