"""Paused stages and sessions on real workers: nothing of them begins, nothing is lost, and resumed they go on."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from actors.middleware.pauses import PauseMiddleware
from actors.operations import pause as pause_module
from actors.operations.pause import pause, pauses, resume
from pipeline.errors import PayloadError
from pipeline.models import Record, Status
from tests.support.media_server import MediaServer
from tests.support.system import Plant, Workers, photo, wait_until
from tests.support.valkey import ValkeyServer

HEARD_WITHIN_S = 1.0  # what docs/operations.md promises


@pytest.fixture
def controlled(monkeypatch: pytest.MonkeyPatch) -> Callable[[Plant], Plant]:
    """Makes the controls those of a plant."""

    def take(plant: Plant) -> Plant:
        monkeypatch.setattr(pause_module, "hook", lambda: plant.hook)
        return plant

    return take


@pytest.fixture
def plant(plant: Plant, controlled: Callable[[Plant], Plant]) -> Plant:
    return controlled(plant)


@pytest.fixture
def server() -> Iterator[MediaServer]:
    with MediaServer({f"{number}.jpg": photo() for number in range(40)}) as running:
        yield running


class GatedServer(MediaServer):
    """Hands nothing out before its gate is opened."""

    def __init__(self, files: dict[str, bytes]) -> None:
        super().__init__(files)
        self.gate = threading.Event()

    def answer_for(self, name: str) -> None:
        self.gate.wait(30)


def submit_all(plant: Plant, server: MediaServer, *, session: str = "s1") -> list[str]:
    return [plant.submit(url=server.url(name), session=session).id for name in server.files]


def open_ones(plant: Plant, ids: list[str]) -> list[Record]:
    return [record for media_id in ids if not (record := plant.record(media_id)).finished_at]


def settled(plant: Plant) -> bool:
    """Whether nothing is held by any worker."""
    return sum(states["running"] for states in plant.belt.counts().values()) == 0


@pytest.mark.parametrize("chain", ["run", "hop"])
@pytest.mark.parametrize("stage", ["fetch", "persist", "notify"])
def test_nothing_begins_a_stage_that_was_paused_under_load(
    make_plant: Callable[..., Plant], controlled: Callable[[Plant], Plant], server: MediaServer, stage: str, chain: str
) -> None:
    plant = controlled(make_plant(chain=chain))
    server.delay_s = 0.05
    with plant.workers(processes=2, threads=4) as workers:
        ids = submit_all(plant, server)
        wait_until(lambda: len(server.requests) > 8, 20)
        assert pause("stage", stage)
        time.sleep(HEARD_WITHIN_S)
        begun = seen(stage, server, workers)
        wait_until(lambda: settled(plant), 30)
        waiting = open_ones(plant, ids)
        assert seen(stage, server, workers) == begun
        assert waiting
        assert plant.belt.counts()[stage]["ready"] == len(waiting)
        assert plant.sweep() == 0
        assert resume("stage", stage)
        assert {record.status for record in plant.ended(*ids)} == {Status.DONE}
    assert len(server.requests) == len(ids)  # nothing was fetched twice for it


def test_a_pause_outlives_workers_and_a_wiped_redis(
    own_valkey: ValkeyServer, tmp_path: Path, controlled: Callable[[Plant], Plant], server: MediaServer
) -> None:
    plant = controlled(Plant(tmp_path, own_valkey.url, {"CLAIM_LEASE_S": "2"}))
    pause("stage", "detect")
    pause("session", "quiet")
    with plant.workers():
        ids = submit_all(plant, server)
        silent = [plant.submit(url=server.url("0.jpg"), session="quiet").id for _ in range(3)]
        wait_until(lambda: plant.belt.counts()["detect"]["ready"] == len(ids), 30)
        own_valkey.client().flushall()
        wait_until(lambda: swept_to("detect", plant) == len(ids), 30)
    plant.bury_the_dead()
    own_valkey.stop()
    own_valkey.wipe()
    own_valkey.start()
    with plant.workers():
        wait_until(lambda: swept_to("detect", plant) == len(ids), 30)
        assert plant.belt.sessions()["quiet"] == {"ready": 3, "running": 0}
        assert len(open_ones(plant, [*ids, *silent])) == len(ids) + 3
        resume("stage", "detect")
        plant.ended(*ids)
        assert len(open_ones(plant, silent)) == 3
        resume("session", "quiet")
        assert {record.status for record in plant.ended(*ids, *silent)} == {Status.DONE}
    assert plant.belt.audit() == 0
    plant.close()


def test_a_paused_session_waits_beside_one_that_runs(plant: Plant, server: MediaServer) -> None:
    pause("session", "quiet")
    quiet = submit_all(plant, server, session="quiet")
    with plant.workers(processes=2):
        busy = submit_all(plant, server, session="busy")
        assert {record.status for record in plant.ended(*busy)} == {Status.DONE}
        assert len(open_ones(plant, quiet)) == len(quiet)
        assert len(server.requests) == len(busy)
        assert plant.belt.audit() == 0
        resume("session", "quiet")
        assert {record.status for record in plant.ended(*quiet)} == {Status.DONE}
        # What has ended in the catalogue lets go of the belt a moment later.
        wait_until(lambda: not plant.belt.client.exists(plant.belt.keys.flight, plant.belt.keys.standing), 30)


def test_what_was_handed_out_and_had_not_begun_goes_back(plant: Plant) -> None:
    with GatedServer({f"{number}.jpg": photo() for number in range(8)}) as server:
        ids = submit_all(plant, server)  # before there are workers, or they take what there is one by one
        with plant.workers(threads=2):
            wait_until(lambda: len(server.requests) == 2, 20)
            wait_until(lambda: plant.belt.counts()["fetch"]["running"] > 2, 10)
            pause("session", "s1")
            time.sleep(HEARD_WITHIN_S)
            server.gate.set()
            wait_until(lambda: settled(plant), 30)
            assert len(server.requests) == 2
            assert plant.belt.counts()["fetch"]["ready"] == len(ids) - 2
            assert plant.belt.client.exists(plant.belt.keys.flight) == 0
            resume("session", "s1")
            plant.ended(*ids)
            assert len(server.requests) == len(ids)


def test_idle_workers_are_woken_by_a_resume(plant: Plant, server: MediaServer) -> None:
    pause("stage", "fetch")
    with plant.workers():
        media_id = plant.submit(url=server.url("0.jpg")).id
        time.sleep(1)
        assert not server.requests
        resume("stage", "fetch")
        plant.ended(media_id, within_s=10)


def test_what_is_paused_does_not_run_in_the_callers_process_either(
    plant: Plant, server: MediaServer, monkeypatch: pytest.MonkeyPatch, controlled: Callable[[Plant], Plant]
) -> None:
    cut_off = controlled(plant.with_redis("redis://127.0.0.1:1/0"))
    assert pause("session", "quiet")  # though Redis is away
    assert cut_off.submit(url=server.url("0.jpg"), session="quiet").mode == "spooled"
    assert cut_off.submit(url=server.url("1.jpg"), session="busy").mode == "inline"
    pause("stage", "persist")
    assert cut_off.submit(url=server.url("2.jpg"), session="busy").mode == "spooled"
    resume("stage", "persist")
    resume("session", "quiet")
    assert cut_off.submit(url=server.url("3.jpg"), session="quiet").mode == "inline"
    assert len(server.requests) == 2
    cut_off.close()


def test_pauses_are_told_with_their_time_and_keep_it(plant: Plant) -> None:
    assert pause("session", "loja")
    [(kind, name, since)] = pauses()
    assert (kind, name) == ("session", "loja")
    assert 0 <= plant.services.catalogue.now() - since < 60_000
    time.sleep(0.01)
    assert not pause("session", "loja")
    assert pauses()[0].since == since
    pause("stage", "notify")
    pause("stage", "fetch")
    assert [pause.name for pause in pauses()] == ["fetch", "notify", "loja"]
    assert resume("session", "loja")
    assert not resume("session", "loja")


@pytest.mark.parametrize(
    ("kind", "name", "field"),
    [("stage", "fetsh", "stage"), ("session", "", "session"), ("session", "x" * 513, "session"), ("host", "a", "kind")],
)
def test_what_cannot_be_paused_is_named(plant: Plant, kind: Any, name: str, field: str) -> None:
    with pytest.raises(PayloadError) as refused:
        pause(kind, name)
    assert refused.value.field == field
    assert pauses() == []


def test_redis_is_told_by_any_worker_what_it_does_not_know(plant: Plant) -> None:
    plant.services.catalogue.pauses.add("session", "loja")  # and whoever did so died before telling Redis
    PauseMiddleware(plant.services.catalogue.pauses.all).refresh(plant.belt)
    assert plant.belt.client.hkeys(plant.belt.keys.paused) == [b"told", b"session:loja"]


def test_who_read_before_another_told_tells_nothing(plant: Plant) -> None:
    told = plant.belt.pauses_told()
    assert plant.belt.tell_pauses([("session", "a", 1)], told=told)
    assert not plant.belt.tell_pauses([], told=told)
    assert plant.belt.client.hexists(plant.belt.keys.paused, "session:a")


def swept_to(stage: str, plant: Plant) -> int:
    """How many wait there after another sweep; claims must run out before it finds what it looks for."""
    plant.sweep()
    return plant.belt.counts()[stage]["ready"]


def seen(stage: str, server: MediaServer, workers: Workers) -> int:
    """How often a stage has begun, or for those that take no time ended."""
    if stage == "fetch":
        return len(server.requests)
    return len(workers.said("attachment stored" if stage == "persist" else "attachment finished"))
