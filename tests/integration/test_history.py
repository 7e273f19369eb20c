"""The history that real workers write, with all stages in one process and with each stage through Redis."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import ExitStack

import pytest

from actors.execution.inline import run_inline
from pipeline.history import HistoryEntry
from pipeline.models import Stage, Status
from tests.support.media_server import Answer, MediaServer
from tests.support.system import RunningSystem, photo
from tests.support.waiting import wait_until

STAGES = [stage.value for stage in Stage]
SECRET = "signature-of-a-url"


@pytest.fixture(params=["run", "hop"])
def system(request: pytest.FixtureRequest, make_system: Callable[..., RunningSystem]) -> RunningSystem:
    """A system that runs all stages in one process (`run`), and one that queues each stage (`hop`)."""
    return make_system(media_backoff_ms="50", chain=request.param)


def history(system: RunningSystem, media_id: str) -> list[HistoryEntry]:
    """The history of an attachment after it has finished."""
    system.wait_finished(media_id)
    return system.services.catalogue.history(media_id)


def summary(entries: list[HistoryEntry]) -> list[tuple[int, str, int, str]]:
    return [(entry.run, entry.stage, entry.attempt, entry.outcome.value) for entry in entries]


def test_successful_attachment_has_its_five_stages_in_order(system: RunningSystem) -> None:
    with MediaServer({"a.jpg": photo()}) as server, system.workers() as workers:
        receipt = system.submit(url=server.url("a.jpg"), kind="image")
        entries = history(system, receipt.id)
        wait_until(lambda: workers.logged("attachment finished"), 10)
    record = system.record(receipt.id)
    assert summary(entries) == [(0, stage, 1, "done") for stage in STAGES]
    assert [entry.at for entry in entries] == sorted(entry.at for entry in entries)
    assert record.received_at <= entries[0].at
    assert entries[-1].at <= (record.finished_at or 0)
    assert all(entry.ms is not None and entry.ms >= 0 and entry.worker for entry in entries)


def test_retries_are_in_the_history_without_secrets(system: RunningSystem) -> None:
    with MediaServer() as server, system.workers():
        server.answers["a.jpg"] = [Answer(500), Answer(503), Answer(200, body=photo())]
        receipt = system.submit(url=f"{server.url('a.jpg')}?sig={SECRET}", kind="image")
        entries = history(system, receipt.id)
    assert summary(entries)[:4] == [
        (0, "fetch", 1, "retry"),
        (0, "fetch", 2, "retry"),
        (0, "fetch", 3, "done"),
        (0, "detect", 1, "done"),
    ]
    assert len(entries) == 7
    assert {entry.code for entry in entries[:2]} == {"fetch_unavailable"}
    assert all(entry.message for entry in entries[:2])
    assert SECRET not in repr(entries)


def test_refusal_is_followed_by_the_run_of_the_replay(system: RunningSystem) -> None:
    with MediaServer({"a.jpg": b"<html>log in</html>"}) as server, system.workers():
        receipt = system.submit(url=server.url("a.jpg"))
        first = history(system, receipt.id)
        wait_until(lambda: system.queue.find_missing([receipt.id]), 10)
        server.files["a.jpg"] = photo()
        assert system.services.catalogue.reopen(receipt.id)
        system.sweep()
        whole = history(system, receipt.id)
    assert summary(first) == [(0, "fetch", 1, "done"), (0, "detect", 1, "refused"), (0, "notify", 1, "done")]
    assert first[1].code == "type_not_allowed"
    assert whole[:3] == first
    assert summary(whole[3:]) == [(1, "fetch", 1, "replayed"), *((1, stage, 1, "done") for stage in STAGES)]


def test_last_attempt_is_failed(system: RunningSystem) -> None:
    with MediaServer() as server, system.workers():
        server.answers["a.jpg"] = Answer(500)
        receipt = system.submit(url=server.url("a.jpg"))
        entries = history(system, receipt.id)
    assert summary(entries) == [
        (0, "fetch", 1, "retry"),
        (0, "fetch", 2, "retry"),
        (0, "fetch", 3, "failed"),
        (0, "notify", 1, "done"),
    ]


def test_workers_of_different_stages_write_one_history(make_system: Callable[..., RunningSystem]) -> None:
    system = make_system(media_backoff_ms="50")
    with MediaServer({"a.jpg": photo()}) as server, ExitStack() as running:
        for queues in (("fetch", "detect"), ("validate",), ("persist", "notify")):
            running.enter_context(system.workers(queues=queues, threads=1))
        entries = history(system, system.submit(url=server.url("a.jpg"), kind="image").id)
    assert summary(entries) == [(0, stage, 1, "done") for stage in STAGES]
    assert len({entry.worker for entry in entries}) == 3


def test_crash_is_recorded_by_the_worker_that_takes_over(make_system: Callable[..., RunningSystem]) -> None:
    system = make_system(media_backoff_ms="50")
    with MediaServer({"a.jpg": photo()}, delay_s=20) as server:
        with system.workers() as workers:
            receipt = system.submit(url=server.url("a.jpg"), kind="image")
            wait_until(lambda: server.requests, 30)
            workers.kill()
        server.delay_s = 0
        system.reap_dead_workers()
        with system.workers():
            entries = history(system, receipt.id)
    assert summary(entries) == [(0, "fetch", 1, "crashed"), *((0, stage, 1, "done") for stage in STAGES)]
    assert entries[0].message == "a worker died with this attachment"


def test_poison_message_has_its_crashes(make_system: Callable[..., RunningSystem]) -> None:
    system = make_system()
    media_id = system.submit(url="http://127.0.0.1:1/never").id
    for _ in range(3):
        system.queue.fetch("w", 1, STAGES)
        _start(system, media_id)
        system.queue.reap("w", silence_ms=0, crash=True)
    with system.workers():
        entries = history(system, media_id)
    assert summary(entries) == [(0, "fetch", 1, "crashed"), (0, "fetch", 3, "failed"), (0, "notify", 1, "done")]
    assert entries[1].code == "poison"


def _start(system: RunningSystem, media_id: str) -> None:
    (message,) = system.queue.held_messages("w")
    assert message.key == media_id
    system.queue.mark_started("w", message.key, message.delivery_id)


def test_lost_staged_bytes_lead_back_to_fetch(make_system: Callable[..., RunningSystem]) -> None:
    system = make_system(media_backoff_ms="50")
    with MediaServer({"a.jpg": photo()}) as server:
        with system.workers(queues=("fetch",)):
            receipt = system.submit(url=server.url("a.jpg"), kind="image")
            wait_until(lambda: system.queue.stats.counts()["detect"]["ready"], 30)
        system.services.staging.discard(receipt.id)
        with system.workers():
            entries = history(system, receipt.id)
    assert summary(entries) == [
        (0, "fetch", 1, "done"),
        (0, "detect", 1, "back_to_fetch"),
        *((0, stage, 1, "done") for stage in STAGES),
    ]


def test_inline_fallback_writes_the_same_history(make_system: Callable[..., RunningSystem]) -> None:
    system = make_system()
    with MediaServer({"a.jpg": photo(), "b.jpg": b"<html></html>"}) as server:
        server.answers["c.jpg"] = Answer(500)
        stored, refused, left = (system.submit(url=server.url(name)).id for name in ("a.jpg", "b.jpg", "c.jpg"))
        for media_id in (stored, refused, left):
            run_inline(system.services, media_id)
    assert system.record(stored).status is Status.DONE
    assert summary(system.services.catalogue.history(stored)) == [(0, stage, 1, "done") for stage in STAGES]
    ended = summary(system.services.catalogue.history(refused))
    assert ended[1:] == [
        (0, "detect", 1, "refused"),
        (0, "notify", 1, "done"),
    ]
    assert summary(system.services.catalogue.history(left)) == [(0, "fetch", 1, "retry")]
