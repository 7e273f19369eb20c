"""The order in which real workers fetch: small next to large files, fast next to slow sessions."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable

import pytest

from actors.redis_queue.keys import SIZE_CLASSES
from pipeline.models import Status
from tests.support.media_server import MediaServer
from tests.support.system import RunningSystem, photo
from tests.support.waiting import wait_until

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
def test_voice_note_overtakes_large_documents(make_system: Callable[..., RunningSystem], chain: str) -> None:
    system = make_system(chain=chain)
    documents = [f"slow-{number}.jpg" for number in range(4)]
    with SlowServer([*documents, "note.jpg"], slow_s=4) as server, system.workers(threads=4):
        large = [system.submit(url=server.url(name), size=LARGE).id for name in documents]
        wait_until(lambda: server.at_once, 10)
        note = system.submit(url=server.url("note.jpg"), size=20_000).id
        [record] = system.wait_finished(note)
        assert record.status is Status.DONE
        assert sum(bool(system.record(media_id).finished_at) for media_id in large) <= 1
        assert {record.status for record in system.wait_finished(*large, within_s=60)} == {Status.DONE}
        assert server.most_at_once == 1  # of four threads
        keys = system.queue.keys
        # The row of the last file ends before its message is acknowledged.
        wait_until(lambda: not system.queue.client.exists(keys.in_flight, keys.session_marks))


def test_single_file_overtakes_a_backlog_of_300(system: RunningSystem) -> None:
    with MediaServer({"a.jpg": photo()}, delay_s=0.02) as server:
        for _ in range(300):
            system.submit(url=server.url("a.jpg"), session="busy")
        with system.workers(threads=4):
            wait_until(lambda: len(server.requests) >= 20, 20)
            quiet = system.submit(url=server.url("a.jpg"), session="quiet").id
            system.wait_finished(quiet)
            done = system.services.catalogue.totals()["done"]
            assert system.queue.stats.sessions()["busy"]["ready"] > 100
    assert done < 150


def test_slow_servers_of_a_session_do_not_delay_another(system: RunningSystem) -> None:
    with SlowServer(["slow.jpg", "fast.jpg"], slow_s=4) as server:
        slow = [system.submit(url=server.url("slow.jpg"), session="slow").id for _ in range(48)]
        with system.workers(threads=4):
            wait_until(lambda: server.at_once == 3, 20)
            fast = [system.submit(url=server.url("fast.jpg"), session="fast").id for _ in range(12)]
            system.wait_finished(*fast, within_s=60)
            waiting = sum(not system.record(media_id).finished_at for media_id in slow)
    assert waiting > 4


def test_history_of_thousands_does_not_delay_new_files(system: RunningSystem) -> None:
    names = ["slow.jpg", *(f"new-{number}.jpg" for number in range(6))]
    with SlowServer(names, slow_s=0.5) as server, system.workers(threads=4):
        old = [system.submit(url=server.url("slow.jpg"), from_history=True).id for _ in range(2000)]
        wait_until(lambda: len(server.requests) >= 2, 20)
        new = [system.submit(url=server.url(name)).id for name in names[1:]]
        new.append(system.submit(url=server.url("slow.jpg"), session="other", size=LARGE).id)
        assert {record.status for record in system.wait_finished(*new, within_s=30)} == {Status.DONE}
        finished = sum(bool(system.record(media_id).finished_at) for media_id in old)
        assert server.most_at_once <= 2  # one of the history at a time, and the large one
    assert 0 < finished < 200
    assert system.record(old[0]).from_history


def test_requeued_history_goes_last_again(system: RunningSystem) -> None:
    system.submit(url="http://127.0.0.1:9/", session="a", from_history=True, expires_at=int(time.time()) + 600)
    system.queue.client.flushall()
    assert system.sweep() == 1
    new = system.submit(url="http://127.0.0.1:9/", session="b").id
    first, second = system.queue.fetch("w", 2, ["fetch"])[1]
    assert (first.key, first.of_history, second.of_history) == (new, False, True)


def test_file_that_expires_soon_is_fetched_first(system: RunningSystem) -> None:
    names = [f"{number}.jpg" for number in range(12)]
    with MediaServer({name: photo() for name in names}) as server:
        ids = [system.submit(url=server.url(name)).id for name in names[:-1]]
        ids.append(system.submit(url=server.url(names[-1]), expires_at=int(time.time()) + 600).id)
        with system.workers(threads=1):
            system.wait_finished(*ids)
        assert server.requests[0].path == f"/{names[-1]}"


def test_requeued_attachment_keeps_its_scheduling(system: RunningSystem) -> None:
    media_id = system.submit(url="http://127.0.0.1:9/", session="s", size=LARGE, expires_at=int(time.time()) + 600).id
    names = [system.queue.keys.waiting("fetch", size_class) for size_class in SIZE_CLASSES]
    waiting = {name: system.queue.client.zrange(name, 0, -1) for name in names}
    system.queue.client.flushall()
    assert system.sweep() == 1
    assert {name: system.queue.client.zrange(name, 0, -1) for name in waiting} == waiting
    [item] = system.queue.fetch("w", 1, ["fetch"])[1]
    assert (item.key, item.large) == (media_id, True)
    assert item.priority < 0
