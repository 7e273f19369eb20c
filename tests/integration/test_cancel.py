"""Cancels attachments in every state: each is cancelled once, and one event is sent."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import suppress

import pytest

from actors.operations import cancel as cancel_module
from actors.operations import pause as pause_module
from actors.operations.cancel import cancel
from actors.operations.pause import pause, resume
from actors.redis_queue.queue import REMOVE_SEARCHES
from actors.redis_queue.scheduling import SchedulingInfo
from pipeline.catalogue import DeliveryFilters, DeliveryRecord
from pipeline.errors import Code, PermanentError
from pipeline.models import Record, Stage, Status
from tests.support.media_server import MediaServer
from tests.support.system import RunningSystem, Workers, photo
from tests.support.waiting import wait_until

SECRET = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"


class GatedServer(MediaServer):
    """Files are handed out once the gate is open; what is announced is taken at once."""

    def __init__(self) -> None:
        super().__init__({f"{number}.jpg": photo() for number in range(8)})
        self.gate = threading.Event()

    def answer_for(self, name: str) -> None:
        if name != "told":
            self.gate.wait(30)


@pytest.fixture
def server() -> Iterator[GatedServer]:
    with GatedServer() as running:
        yield running


@pytest.fixture
def system(
    make_system: Callable[..., RunningSystem], server: GatedServer, monkeypatch: pytest.MonkeyPatch
) -> RunningSystem:
    made = make_system(media_backoff_ms="50", webhook_url=server.url("told"), webhook_secret=SECRET)
    monkeypatch.setattr(cancel_module, "hook", lambda: made.hook)
    monkeypatch.setattr(pause_module, "hook", lambda: made.hook)
    return made


def is_cancelled(record: Record) -> bool:
    return (record.status, record.error_code, bool(record.finished_at)) == (Status.REJECTED, Code.CANCELLED, True)


def events(system: RunningSystem) -> list[DeliveryRecord]:
    """What was announced to the endpoint of webhooks."""
    return system.services.catalogue.deliveries.find(DeliveryFilters(), limit=1000)


def assert_told_once(system: RunningSystem, *ids: str) -> None:
    told = events(system)
    assert sorted(event.media_id for event in told) == sorted(ids)
    assert len({event.event_id for event in told}) == len(ids)
    assert {event.type for event in told} == {"media.rejected"}


def test_waiting_attachment_is_cancelled_at_once(system: RunningSystem, server: GatedServer) -> None:
    kept, media_id = (system.submit(url=server.url(f"{number}.jpg")).id for number in range(2))
    record = cancel(media_id)
    assert is_cancelled(record)
    assert record == system.record(media_id)
    assert system.queue.find_missing([kept, media_id]) == [media_id]
    assert system.queue.stats.counts()["fetch"]["ready"] == 1
    assert cancel(media_id) == record
    assert_told_once(system, media_id)
    server.gate.set()
    with system.workers():
        assert system.wait_finished(kept)[0].status is Status.DONE
    assert server.hits("1.jpg") == 0
    assert system.queue.audit() == 0


def test_started_attachment_is_cancelled_after_its_step(system: RunningSystem, server: GatedServer) -> None:
    with system.workers(threads=1):
        media_id = system.submit(url=server.url("0.jpg")).id
        wait_until(lambda: server.hits("0.jpg"), 20)
        record = cancel(media_id)
        assert (record.status, record.finished_at) == (Status.RECEIVED, None)
        assert record.cancelled_at is not None
        assert cancel(media_id) == record
        server.gate.set()
        [record] = system.wait_finished(media_id)
    assert is_cancelled(record)
    assert record.stage is Stage.PERSIST
    assert system.stored_files() == []
    assert system.staged_files() == []
    assert_told_once(system, media_id)


def test_prefetched_attachment_is_not_started(system: RunningSystem, server: GatedServer) -> None:
    ids = [system.submit(url=server.url(f"{number}.jpg")).id for number in range(8)]
    with system.workers(threads=1):
        wait_until(lambda: server.requests, 20)
        assert system.queue.stats.counts()["fetch"]["running"] == 2
        records = [cancel(media_id) for media_id in ids]
        assert [record.id for record in records if not is_cancelled(record)] == ids[:1]
        server.gate.set()
        assert all(map(is_cancelled, system.wait_finished(*ids)))
        wait_until(lambda: not any(states["running"] for states in system.queue.stats.counts().values()), 10)
    assert [request.path for request in server.requests if request.method == "GET"] == ["/0.jpg"]
    assert_told_once(system, *ids)
    assert (
        system.queue.client.exists(
            system.queue.keys.messages, system.queue.keys.session_marks, system.queue.keys.in_flight
        )
        == 0
    )


def test_delayed_and_paused_attachments_are_cancelled_at_once(system: RunningSystem, server: GatedServer) -> None:
    server.gate.set()
    pause("stage", "validate")
    with system.workers():
        retried = system.submit(url="http://127.0.0.1:1/refused.jpg").id
        held_up = system.submit(url=server.url("0.jpg")).id
        wait_until(lambda: system.queue.stats.counts()["validate"]["ready"] == 1, 20)
        wait_until(lambda: system.record(retried).attempts > 0 or system.record(retried).finished_at, 20)
        assert is_cancelled(cancel(held_up))  # though its last worker's claim is still good
        assert system.queue.stats.counts()["validate"]["ready"] == 0
        if system.record(retried).finished_at is None:
            cancel(retried)
        [record] = system.wait_finished(retried)
        assert record.status in {Status.REJECTED, Status.FAILED}
    assert sorted(event.media_id for event in events(system)) == sorted([retried, held_up])


def test_cancel_refuses_stored_and_finished_attachments(system: RunningSystem, server: GatedServer) -> None:
    server.gate.set()
    pause("stage", "notify")
    with system.workers():
        media_id = system.submit(url=server.url("0.jpg")).id
        wait_until(lambda: system.record(media_id).status is Status.STORED, 20)
        assert refusal(media_id).code is Code.NOT_PENDING
        resume("stage", "notify")
        system.wait_finished(media_id)
    assert refusal(media_id).code is Code.NOT_PENDING
    assert refusal("0" * 32).code is Code.NOT_FOUND
    assert system.record(media_id).status is Status.DONE


def refusal(media_id: str) -> PermanentError:
    with pytest.raises(PermanentError) as refused:
        cancel(media_id)
    return refused.value


def test_cancelled_attachment_can_be_replayed(system: RunningSystem, server: GatedServer) -> None:
    media_id = system.submit(url=server.url("0.jpg")).id
    cancel(media_id)
    assert system.services.catalogue.reopen(media_id)
    server.gate.set()
    with system.workers():
        system.sweep()
        [record] = system.wait_finished(media_id)
    assert (record.status, record.cancelled_at, record.run) == (Status.DONE, None, 1)


def test_workers_finish_an_interrupted_cancel(system: RunningSystem, server: GatedServer) -> None:
    media_id = system.submit(url=server.url("0.jpg")).id
    assert system.services.catalogue.cancellations.request(media_id)
    assert system.queue.remove(media_id)
    system.sweep()
    with system.workers():
        assert is_cancelled(system.wait_finished(media_id)[0])
    assert server.hits("0.jpg") == 0
    assert_told_once(system, media_id)


def test_event_of_a_cancel_waits_while_notify_is_paused(system: RunningSystem, server: GatedServer) -> None:
    media_id = system.submit(url=server.url("0.jpg")).id
    pause("stage", "notify")
    assert cancel(media_id).finished_at is None
    assert system.record(media_id).status is Status.REJECTED
    with system.workers():
        wait_until(lambda: system.queue.stats.counts()["notify"]["ready"] == 1, 10)
        assert events(system) == []
        resume("stage", "notify")
        assert is_cancelled(system.wait_finished(media_id)[0])
    assert_told_once(system, media_id)


def test_cancel_works_while_redis_is_away(
    system: RunningSystem, server: GatedServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    media_id = system.submit(url=server.url("0.jpg")).id
    cut_off = system.with_redis("redis://127.0.0.1:1/0")
    with monkeypatch.context() as outage:
        outage.setattr(cancel_module, "hook", lambda: cut_off.hook)
        assert is_cancelled(cancel(media_id))
    cut_off.close()
    with system.workers():  # what was left on the belt is found to have ended
        wait_until(lambda: system.queue.find_missing([media_id]), 20)
    assert server.hits("0.jpg") == 0
    assert_told_once(system, media_id)


def test_message_deep_in_the_queue_is_left_to_workers(system: RunningSystem, server: GatedServer) -> None:
    ids = [system.submit(url=server.url("0.jpg")).id]
    for number in range(REMOVE_SEARCHES):
        system.queue.enqueue(f"before-{number}", "fetch", b"x", scheduling=SchedulingInfo("s1"))
    deep = system.submit(url=server.url("1.jpg")).id
    for number in range(REMOVE_SEARCHES):
        system.queue.enqueue(f"behind-{number}", "fetch", b"x", scheduling=SchedulingInfo("s1"))
    assert is_cancelled(cancel(deep))
    assert system.queue.find_missing([deep]) == []
    assert is_cancelled(cancel(ids[0]))
    assert system.queue.find_missing(ids) == ids


@pytest.mark.parametrize("chain", ["run", "hop"])
def test_cancel_during_work_gives_one_result_and_one_event(
    make_system: Callable[..., RunningSystem], server: GatedServer, monkeypatch: pytest.MonkeyPatch, chain: str
) -> None:
    system = make_system(chain=chain, webhook_url=server.url("told"), webhook_secret=SECRET)
    monkeypatch.setattr(cancel_module, "hook", lambda: system.hook)
    server.gate.set()
    promised = set()
    with system.workers(processes=2) as workers:
        ids = [system.submit(url=server.url(f"{number % 8}.jpg")).id for number in range(120)]
        for media_id in ids[::-2]:
            time.sleep(0.005)
            with suppress(PermanentError):  # it was faster
                promised.add(cancel(media_id).id)
        records = system.wait_finished(*ids)
    cancelled = {record.id for record in records if is_cancelled(record)}
    assert cancelled == promised
    assert {record.status for record in records if record.id not in promised} == {Status.DONE}
    told = events(system)
    assert len({event.event_id for event in told}) == len(told) == len(ids)
    assert {event.media_id for event in told if event.type == "media.rejected"} == cancelled
    totals = system.services.catalogue.totals()
    assert (totals["done"], totals["rejected"]) == (len(ids) - len(cancelled), len(cancelled))
    assert loudest(workers) == []


def loudest(workers: Workers) -> list[dict[str, object]]:
    """What the workers found worth an error."""
    lines = (line for line in workers.log.read_text(errors="replace").splitlines() if line.startswith("{"))
    return [line for line in map(json.loads, lines) if line["level"] == "error"]
