"""Whose file real workers fetch next: small ones beside large ones, fast sessions beside slow ones."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable

import pytest

from actors.delivery import encode_message, stage_message
from pipeline.models import Stage, Status
from tests.support.media_server import MediaServer
from tests.support.system import Plant, photo, wait_until

LARGE = 100_000_000


class SlowServer(MediaServer):
    """Takes its time for files whose name says so, and knows how many of these it sends at once."""

    def __init__(self, names: list[str], *, slow_s: float) -> None:
        super().__init__({name: photo() for name in names})
        self.slow_s = slow_s
        self.at_once = self.most_at_once = 0
        self._count = threading.Lock()

    def answer_for(self, name: str) -> None:
        if not name.startswith("slow"):
            return
        with self._count:
            self.at_once += 1
            self.most_at_once = max(self.most_at_once, self.at_once)
        time.sleep(self.slow_s)
        with self._count:
            self.at_once -= 1


@pytest.mark.parametrize("chain", ["run", "hop"])
def test_a_voice_note_passes_while_large_documents_are_on_their_way(
    make_plant: Callable[..., Plant], chain: str
) -> None:
    plant = make_plant(chain=chain)
    documents = [f"slow-{number}.jpg" for number in range(4)]
    with SlowServer([*documents, "note.jpg"], slow_s=4) as server, plant.workers(threads=4):
        large = [plant.submit(url=server.url(name), size=LARGE).id for name in documents]
        wait_until(lambda: server.at_once, 10)
        note = plant.submit(url=server.url("note.jpg"), size=20_000).id
        [record] = plant.ended(note)
        assert record.status is Status.DONE
        assert sum(bool(plant.record(media_id).finished_at) for media_id in large) <= 1
        assert {record.status for record in plant.ended(*large, within_s=60)} == {Status.DONE}
        assert server.most_at_once == 1  # of four threads
    assert plant.belt.client.exists(plant.belt.keys.flight, plant.belt.keys.standing) == 0


def test_one_file_is_among_the_next_beside_three_hundred_of_another_session(plant: Plant) -> None:
    with MediaServer({"a.jpg": photo()}, delay_s=0.02) as server:
        for _ in range(300):
            plant.submit(url=server.url("a.jpg"), session="busy")
        with plant.workers(threads=4):
            wait_until(lambda: len(server.requests) >= 20, 20)
            quiet = plant.submit(url=server.url("a.jpg"), session="quiet").id
            plant.ended(quiet)
            done = plant.services.catalogue.totals()["done"]
            assert plant.belt.sessions()["busy"]["ready"] > 100
    assert done < 150


def test_a_session_with_slow_servers_does_not_hold_up_one_with_fast_ones(plant: Plant) -> None:
    with SlowServer(["slow.jpg", "fast.jpg"], slow_s=4) as server:
        slow = [plant.submit(url=server.url("slow.jpg"), session="slow").id for _ in range(48)]
        with plant.workers(threads=4):
            wait_until(lambda: server.at_once == 4, 20)
            fast = [plant.submit(url=server.url("fast.jpg"), session="fast").id for _ in range(12)]
            plant.ended(*fast, within_s=60)
            waiting = sum(not plant.record(media_id).finished_at for media_id in slow)
    assert waiting > 4  # first in, first out would leave four at most


def test_what_expires_soon_is_fetched_first(plant: Plant) -> None:
    names = [f"{number}.jpg" for number in range(12)]
    with MediaServer({name: photo() for name in names}) as server:
        ids = [plant.submit(url=server.url(name)).id for name in names[:-1]]
        ids.append(plant.submit(url=server.url(names[-1]), expires_at=int(time.time()) + 600).id)
        with plant.workers(threads=1):
            plant.ended(*ids)
        assert server.requests[0].path == f"/{names[-1]}"


def test_what_the_sweep_brings_back_has_its_place(plant: Plant) -> None:
    media_id = plant.submit(url="http://127.0.0.1:9/", session="s", size=LARGE, expires_at=int(time.time()) + 600).id
    waiting = {name: plant.belt.client.zrange(name, 0, -1) for name in plant.belt.keys.of_queues(["fetch"])[9:11]}
    plant.belt.client.flushall()
    assert plant.sweep() == 1
    assert {name: plant.belt.client.zrange(name, 0, -1) for name in waiting} == waiting
    [item] = plant.belt.fetch("w", 1, ["fetch"])[1]
    assert (item.key, item.large) == (media_id, True)
    assert item.priority < 0


def test_work_in_the_lists_of_the_former_version_is_done_after_an_upgrade(plant: Plant) -> None:
    with MediaServer({"a.jpg": photo()}) as server:
        ids = [plant.submit(url=server.url("a.jpg")).id for _ in range(3)]
        plant.belt.client.flushall()
        for media_id in ids:
            plant.belt.client.hset(
                plant.belt.keys.messages, media_id, encode_message(stage_message(media_id, Stage.FETCH))
            )
            plant.belt.client.rpush(plant.belt.keys.ready("fetch"), media_id)
        with plant.workers():
            records = plant.ended(*ids)
    assert {record.status for record in records} == {Status.DONE}
