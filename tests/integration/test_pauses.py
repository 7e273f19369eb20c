"""Paused stages and sessions: nothing of them starts, no attachment is lost, and they continue when resumed."""

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
from pipeline.catalogue.pauses import Pause
from pipeline.errors import PayloadError
from pipeline.models import Record, Status
from tests.support.media_server import MediaServer
from tests.support.system import RunningSystem, Workers, photo
from tests.support.valkey import ValkeyServer
from tests.support.waiting import wait_until

EFFECTIVE_WITHIN_S = 1.0  # as docs/operations.md promises
RUNNING_OF_FOUR = 3  # downloads of one session in a process of four threads


@pytest.fixture
def controlled(monkeypatch: pytest.MonkeyPatch) -> Callable[[RunningSystem], RunningSystem]:
    """Makes `pause` and `resume` act on a system."""

    def control(system: RunningSystem) -> RunningSystem:
        monkeypatch.setattr(pause_module, "hook", lambda: system.hook)
        return system

    return control


@pytest.fixture
def system(system: RunningSystem, controlled: Callable[[RunningSystem], RunningSystem]) -> RunningSystem:
    return controlled(system)


@pytest.fixture
def server() -> Iterator[MediaServer]:
    with MediaServer({f"{number}.jpg": photo() for number in range(40)}) as running:
        yield running


class GatedServer(MediaServer):
    """Answers no request before its gate is opened."""

    def __init__(self, files: dict[str, bytes]) -> None:
        super().__init__(files)
        self.gate = threading.Event()

    def answer_for(self, name: str) -> None:
        self.gate.wait(30)


def submit_all(system: RunningSystem, server: MediaServer, *, session: str = "s1") -> list[str]:
    return [system.submit(url=server.url(name), session=session, kind="image").id for name in server.files]


def unfinished(system: RunningSystem, ids: list[str]) -> list[Record]:
    return [record for media_id in ids if not (record := system.record(media_id)).finished_at]


def is_idle(system: RunningSystem) -> bool:
    """Whether no worker holds a message."""
    return sum(states["running"] for states in system.queue.stats.counts().values()) == 0


@pytest.mark.parametrize("chain", ["run", "hop"])
@pytest.mark.parametrize("stage", ["fetch", "persist", "notify"])
def test_stage_paused_under_load_starts_no_attachment(
    make_system: Callable[..., RunningSystem],
    controlled: Callable[[RunningSystem], RunningSystem],
    server: MediaServer,
    stage: str,
    chain: str,
) -> None:
    system = controlled(make_system(chain=chain))
    server.delay_s = 0.05
    with system.workers(processes=2, threads=4) as workers:
        ids = submit_all(system, server)
        wait_until(lambda: len(server.requests) > 8, 20)
        assert pause("stage", stage)
        time.sleep(EFFECTIVE_WITHIN_S)
        begun = count_runs(stage, server, workers)
        wait_until(lambda: is_idle(system), 30)
        waiting = unfinished(system, ids)
        assert count_runs(stage, server, workers) == begun
        assert waiting
        assert system.queue.stats.counts()[stage]["ready"] == len(waiting)
        assert system.sweep() == 0
        assert resume("stage", stage)
        assert {record.status for record in system.wait_finished(*ids)} == {Status.DONE}
    assert len(server.requests) == len(ids)  # the pause has caused no second download


def test_pause_survives_a_restart_and_a_wiped_redis(
    own_valkey: ValkeyServer, tmp_path: Path, controlled: Callable[[RunningSystem], RunningSystem], server: MediaServer
) -> None:
    system = controlled(RunningSystem(tmp_path, own_valkey.url, {"CLAIM_LEASE_S": "2"}))
    pause("stage", "detect")
    pause("session", "quiet")
    with system.workers():
        ids = submit_all(system, server)
        silent = [system.submit(url=server.url("0.jpg"), session="quiet").id for _ in range(3)]
        wait_until(lambda: system.queue.stats.counts()["detect"]["ready"] == len(ids), 30)
        own_valkey.client().flushall()
        wait_until(lambda: requeued_to("detect", system) == len(ids), 30)
    system.reap_dead_workers()
    own_valkey.stop()
    own_valkey.wipe()
    own_valkey.start()
    with system.workers():
        wait_until(lambda: requeued_to("detect", system) == len(ids), 30)
        assert system.queue.stats.sessions()["quiet"] == {"ready": 3, "running": 0}
        assert len(unfinished(system, [*ids, *silent])) == len(ids) + 3
        resume("stage", "detect")
        system.wait_finished(*ids)
        assert len(unfinished(system, silent)) == 3
        resume("session", "quiet")
        assert {record.status for record in system.wait_finished(*ids, *silent)} == {Status.DONE}
    assert system.queue.audit() == 0
    system.close()


def test_paused_session_waits_while_another_runs(system: RunningSystem, server: MediaServer) -> None:
    pause("session", "quiet")
    quiet = submit_all(system, server, session="quiet")
    with system.workers(processes=2):
        busy = submit_all(system, server, session="busy")
        assert {record.status for record in system.wait_finished(*busy)} == {Status.DONE}
        assert len(unfinished(system, quiet)) == len(quiet)
        assert len(server.requests) == len(busy)
        assert system.queue.audit() == 0
        resume("session", "quiet")
        assert {record.status for record in system.wait_finished(*quiet)} == {Status.DONE}
        # The acknowledgement comes a moment after the end in the catalogue.
        keys = system.queue.keys
        wait_until(lambda: not system.queue.client.exists(keys.in_flight, keys.session_marks), 30)


def test_fetched_messages_that_had_not_started_are_requeued(system: RunningSystem) -> None:
    with GatedServer({f"{number}.jpg": photo() for number in range(8)}) as server:
        ids = submit_all(system, server)  # before the workers start, so that they fetch several at once
        with system.workers(threads=4):
            wait_until(lambda: len(server.requests) == RUNNING_OF_FOUR, 20)
            wait_until(lambda: system.queue.stats.counts()["fetch"]["running"] > RUNNING_OF_FOUR, 10)
            pause("session", "s1")
            time.sleep(EFFECTIVE_WITHIN_S)
            server.gate.set()
            wait_until(lambda: is_idle(system), 30)
            assert len(server.requests) == RUNNING_OF_FOUR
            assert system.queue.stats.counts()["fetch"]["ready"] == len(ids) - RUNNING_OF_FOUR
            assert system.queue.client.exists(system.queue.keys.in_flight) == 0
            resume("session", "s1")
            system.wait_finished(*ids)
            assert len(server.requests) == len(ids)


def test_resume_wakes_idle_workers(system: RunningSystem, server: MediaServer) -> None:
    pause("stage", "fetch")
    with system.workers():
        media_id = system.submit(url=server.url("0.jpg")).id
        time.sleep(1)
        assert not server.requests
        resume("stage", "fetch")
        system.wait_finished(media_id, within_s=10)


def test_paused_attachments_do_not_run_inline_either(
    system: RunningSystem,
    server: MediaServer,
    monkeypatch: pytest.MonkeyPatch,
    controlled: Callable[[RunningSystem], RunningSystem],
) -> None:
    cut_off = controlled(system.with_redis("redis://127.0.0.1:1/0"))
    assert pause("session", "quiet")  # works while Redis is away
    assert cut_off.submit(url=server.url("0.jpg"), session="quiet").mode == "spooled"
    assert cut_off.submit(url=server.url("1.jpg"), session="busy").mode == "inline"
    pause("stage", "persist")
    assert cut_off.submit(url=server.url("2.jpg"), session="busy").mode == "spooled"
    resume("stage", "persist")
    resume("session", "quiet")
    assert cut_off.submit(url=server.url("3.jpg"), session="quiet").mode == "inline"
    assert len(server.requests) == 2
    cut_off.close()


def test_pauses_are_listed_with_the_time_of_the_first_call(system: RunningSystem) -> None:
    assert pause("session", "loja")
    [(kind, name, since, *_)] = pauses()
    assert (kind, name) == ("session", "loja")
    assert 0 <= system.services.catalogue.now() - since < 60_000
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
def test_invalid_pause_names_the_wrong_field(system: RunningSystem, kind: Any, name: str, field: str) -> None:
    with pytest.raises(PayloadError) as refused:
        pause(kind, name)
    assert refused.value.field == field
    assert pauses() == []


def test_any_worker_publishes_pauses_that_redis_lacks(system: RunningSystem) -> None:
    system.services.catalogue.pauses.add("session", "loja")  # as a process that died before it published them
    PauseMiddleware(system.services.catalogue.pauses.all).refresh(system.queue)
    assert system.queue.client.hkeys(system.queue.keys.paused) == [b"told", b"session:loja"]


def test_process_with_an_older_list_of_pauses_cannot_publish_it(system: RunningSystem) -> None:
    version = system.queue.pauses_version()
    assert system.queue.publish_pauses([Pause("session", "a", 1)], version=version)
    assert not system.queue.publish_pauses([], version=version)
    assert system.queue.client.hexists(system.queue.keys.paused, "session:a")


def requeued_to(stage: str, system: RunningSystem) -> int:
    """How many messages wait at a stage after another requeue, which needs the old claims to run out first."""
    system.sweep()
    return system.queue.stats.counts()[stage]["ready"]


def count_runs(stage: str, server: MediaServer, workers: Workers) -> int:
    """How often a stage has started, or ended where it takes no time."""
    if stage == "fetch":
        return len(server.requests)
    return len(workers.logged("attachment stored" if stage == "persist" else "attachment finished"))
