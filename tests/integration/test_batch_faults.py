"""What happens to a crew whose worker dies, is told to stop, or has somebody aboard that takes long."""

from __future__ import annotations

import time
from collections.abc import Callable

from pipeline.models import Status
from tests.support.media_server import MediaServer
from tests.support.system import Plant, Workers, photo, wait_until

BECALMED = "tests.support.blocking_files"
DONE = (Status.DONE, None)


def fetched(workers: Workers) -> int:
    """How many have left fetch and wait for those that lead."""
    return sum(said["stage"] == "fetch" for said in workers.said("stage done"))


def test_deaths_with_a_crew_aboard_make_nobody_poison_who_had_not_begun(plant: Plant) -> None:
    aboard = 10
    with MediaServer({"held": photo()}) as server:
        ids = [plant.submit(url=server.url("held")).id for _ in range(aboard)]
        begun = [aboard, 1, 1]  # what is suspect is begun one at a time
        for number in begun:
            with plant.workers(module=BECALMED) as workers:
                wait_until(lambda: fetched(workers) >= number, 30)  # noqa: B023
                time.sleep(0.1)
                assert fetched(workers) == number
                workers.kill()
            plant.bury_the_dead()
        marks = sorted(map(int, plant.belt.client.hvals(plant.belt.keys.crashes)))  # type: ignore[arg-type]
        assert sum(mark > 1 for mark in marks) <= 2
        assert sum(marks) == aboard + 2
        (plant.folder / "go").touch()
        with plant.workers():
            records = plant.ended(*ids, within_s=60)
    # Nobody can tell the one that had begun twice from a guilty one; all others are known to be innocent.
    assert sum((record.status, record.error_code) == DONE for record in records) >= aboard - 1
    assert {(record.status, record.error_code) for record in records} <= {DONE, (Status.FAILED, "poison")}


def test_one_that_takes_long_when_its_worker_stops_goes_on_at_once_elsewhere(plant: Plant) -> None:
    with MediaServer({"held": photo(), "slow": photo(), "quick": photo()}) as server:
        with plant.workers(module=BECALMED) as workers:
            held = plant.submit(url=server.url("held")).id
            wait_until(lambda: fetched(workers) == 1, 30)
            slow, quick = (plant.submit(url=server.url(name)).id for name in ("slow", "quick"))
            wait_until(lambda: fetched(workers) == 3, 30)
            (plant.folder / "go").touch()
            plant.ended(held, quick)
            assert not plant.record(slow).finished_at
            workers.stop()
        assert not plant.belt.client.hlen(plant.belt.keys.crashes)
        with plant.workers():
            [record] = plant.ended(slow, within_s=plant.settings.claim_lease_s / 2)
        assert (record.status, record.error_code) == DONE
        assert server.hits("slow") == 1


def test_nobody_waits_until_a_large_one_is_stored(make_plant: Callable[..., Plant]) -> None:
    plant = make_plant(large_file_mb="1")
    with MediaServer({"large": photo(size=(1920, 1440)), "small": photo()}) as server:
        assert len(server.files["large"]) > 1_000_000
        with plant.workers(module=BECALMED):
            large = plant.submit(url=server.url("large")).id
            wait_until(lambda: server.hits("large"), 30)
            plant.ended(*(plant.submit(url=server.url("small")).id for _ in range(3)))
            assert not plant.record(large).finished_at
            (plant.folder / "go").touch()
            [record] = plant.ended(large)
    assert (record.status, record.error_code) == DONE
