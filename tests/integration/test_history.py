"""An attachment's way as real workers tell it, running on and hopping through Redis alike."""

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
SECRET = "signature-that-nobody-may-see"


@pytest.fixture(params=["run", "hop"])
def either(request: pytest.FixtureRequest, make_system: Callable[..., RunningSystem]) -> RunningSystem:
    """A system that runs on, and one that hops through Redis after each stage."""
    return make_system(media_backoff_ms="50", chain=request.param)


def history(system: RunningSystem, media_id: str) -> list[HistoryEntry]:
    """The way of what has ended, once its last word is written."""
    system.wait_finished(media_id)
    return system.services.catalogue.history(media_id)


def told(entries: list[HistoryEntry]) -> list[tuple[int, str, int, str]]:
    return [(entry.run, entry.stage, entry.attempt, entry.outcome.value) for entry in entries]


def test_a_file_that_is_done_has_its_five_stages_in_order(either: RunningSystem) -> None:
    with MediaServer({"a.jpg": photo()}) as server, either.workers() as workers:
        receipt = either.submit(url=server.url("a.jpg"), kind="image")
        found = history(either, receipt.id)
        wait_until(lambda: workers.logged("attachment finished"), 10)
    record = either.record(receipt.id)
    assert told(found) == [(0, stage, 1, "done") for stage in STAGES]
    assert [entry.at for entry in found] == sorted(entry.at for entry in found)
    assert record.received_at <= found[0].at
    assert found[-1].at <= (record.finished_at or 0)
    assert all(entry.ms is not None and entry.ms >= 0 and entry.worker for entry in found)


def test_the_attempts_before_the_one_that_went_well_are_told(either: RunningSystem) -> None:
    with MediaServer() as server, either.workers():
        server.answers["a.jpg"] = [Answer(500), Answer(503), Answer(200, body=photo())]
        receipt = either.submit(url=f"{server.url('a.jpg')}?sig={SECRET}", kind="image")
        found = history(either, receipt.id)
    assert told(found)[:4] == [
        (0, "fetch", 1, "retry"),
        (0, "fetch", 2, "retry"),
        (0, "fetch", 3, "done"),
        (0, "detect", 1, "done"),
    ]
    assert len(found) == 7
    assert {entry.code for entry in found[:2]} == {"fetch_unavailable"}
    assert all(entry.message for entry in found[:2])
    assert SECRET not in repr(found)


def test_a_refusal_and_the_run_after_it_are_told_one_after_the_other(either: RunningSystem) -> None:
    with MediaServer({"a.jpg": b"<html>log in</html>"}) as server, either.workers():
        receipt = either.submit(url=server.url("a.jpg"))
        first = history(either, receipt.id)
        wait_until(lambda: either.queue.find_missing([receipt.id]), 10)
        server.files["a.jpg"] = photo()
        assert either.services.catalogue.reopen(receipt.id)
        either.sweep()
        whole = history(either, receipt.id)
    assert told(first) == [(0, "fetch", 1, "done"), (0, "detect", 1, "refused"), (0, "notify", 1, "done")]
    assert first[1].code == "type_not_allowed"
    assert whole[:3] == first
    assert told(whole[3:]) == [(1, "fetch", 1, "replayed"), *((1, stage, 1, "done") for stage in STAGES)]


def test_attempts_that_are_used_up_end_as_failed(either: RunningSystem) -> None:
    with MediaServer() as server, either.workers():
        server.answers["a.jpg"] = Answer(500)
        receipt = either.submit(url=server.url("a.jpg"))
        found = history(either, receipt.id)
    assert told(found) == [
        (0, "fetch", 1, "retry"),
        (0, "fetch", 2, "retry"),
        (0, "fetch", 3, "failed"),
        (0, "notify", 1, "done"),
    ]


def test_workers_that_serve_a_stage_each_tell_one_story(make_system: Callable[..., RunningSystem]) -> None:
    system = make_system(media_backoff_ms="50")
    with MediaServer({"a.jpg": photo()}) as server, ExitStack() as running:
        for queues in (("fetch", "detect"), ("validate",), ("persist", "notify")):
            running.enter_context(system.workers(queues=queues, threads=1))
        found = history(system, system.submit(url=server.url("a.jpg"), kind="image").id)
    assert told(found) == [(0, stage, 1, "done") for stage in STAGES]
    assert len({entry.worker for entry in found}) == 3


def test_a_worker_that_died_is_told_by_the_one_that_took_over(make_system: Callable[..., RunningSystem]) -> None:
    system = make_system(media_backoff_ms="50")
    with MediaServer({"a.jpg": photo()}, delay_s=20) as server:
        with system.workers() as workers:
            receipt = system.submit(url=server.url("a.jpg"), kind="image")
            wait_until(lambda: server.requests, 30)
            workers.kill()
        server.delay_s = 0
        system.reap_dead_workers()
        with system.workers():
            found = history(system, receipt.id)
    assert told(found) == [(0, "fetch", 1, "crashed"), *((0, stage, 1, "done") for stage in STAGES)]
    assert found[0].message == "a worker died with this attachment"


def test_poison_is_told_with_its_deaths(make_system: Callable[..., RunningSystem]) -> None:
    system = make_system()
    media_id = system.submit(url="http://127.0.0.1:1/never").id
    for _ in range(3):
        system.queue.fetch("w", 1, STAGES)
        _begin(system, media_id)
        system.queue.reap("w", silence_ms=0, crash=True)
    with system.workers():
        found = history(system, media_id)
    assert told(found) == [(0, "fetch", 1, "crashed"), (0, "fetch", 3, "failed"), (0, "notify", 1, "done")]
    assert found[1].code == "poison"


def _begin(system: RunningSystem, media_id: str) -> None:
    (held,) = system.queue.held_messages("w")
    assert held.key == media_id
    system.queue.mark_started("w", held.key, held.delivery_id)


def test_bytes_that_were_gone_are_told_as_a_way_back(make_system: Callable[..., RunningSystem]) -> None:
    system = make_system(media_backoff_ms="50")
    with MediaServer({"a.jpg": photo()}) as server:
        with system.workers(queues=("fetch",)):
            receipt = system.submit(url=server.url("a.jpg"), kind="image")
            wait_until(lambda: system.queue.stats.counts()["detect"]["ready"], 30)
        system.services.staging.discard(receipt.id)
        with system.workers():
            found = history(system, receipt.id)
    assert told(found) == [
        (0, "fetch", 1, "done"),
        (0, "detect", 1, "back_to_fetch"),
        *((0, stage, 1, "done") for stage in STAGES),
    ]


def test_the_fallback_in_the_listeners_thread_tells_the_same(make_system: Callable[..., RunningSystem]) -> None:
    system = make_system()
    with MediaServer({"a.jpg": photo(), "b.jpg": b"<html></html>"}) as server:
        server.answers["c.jpg"] = Answer(500)
        stored, refused, left = (system.submit(url=server.url(name)).id for name in ("a.jpg", "b.jpg", "c.jpg"))
        for media_id in (stored, refused, left):
            run_inline(system.services, media_id)
    assert system.record(stored).status is Status.DONE
    assert told(system.services.catalogue.history(stored)) == [(0, stage, 1, "done") for stage in STAGES]
    ended = told(system.services.catalogue.history(refused))
    assert ended[1:] == [
        (0, "detect", 1, "refused"),
        (0, "notify", 1, "done"),
    ]
    assert told(system.services.catalogue.history(left)) == [(0, "fetch", 1, "retry")]
