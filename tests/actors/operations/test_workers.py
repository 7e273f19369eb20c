"""What worker processes say of themselves with their heartbeats, and what is read of it."""

from __future__ import annotations

import threading
import time
from typing import Any

import pytest

from actors.observability.worker_info import ACTIVITY, WorkerActivity, WorkerIdentity
from actors.operations import workers as reader
from actors.operations.workers import workers
from actors.redis_queue.queue import RedisQueue, connect
from pipeline.errors import Code
from pipeline.models import Stage
from tests.support.valkey import ValkeyServer

MINUTE_MS = 60_000
WITHIN_THE_SCRIPT = ("time", "zrem", "zadd", "set", "zrangebyscore")


@pytest.fixture
def belt(valkey: ValkeyServer) -> RedisQueue:
    return RedisQueue(connect(valkey.url, timeout_s=2), queues=[stage.value for stage in Stage])


def said(**fields: object) -> str:
    identity = WorkerIdentity(threads=4, queues=["notify", "fetch"])
    return identity.current_info(sandbox_deaths=2).model_copy(update=fields).model_dump_json()


def test_a_worker_is_known_by_what_it_says_with_its_heartbeat(
    belt: RedisQueue, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ACTIVITY, "_last_error", None)
    belt.heartbeat("w", silence_ms=MINUTE_MS, info=said(host="berlin", pid=7))
    [worker] = workers(belt)
    assert (worker.id, worker.host, worker.pid, worker.threads, worker.alive) == ("w", "berlin", 7, 4, True)
    assert (worker.queues, worker.sandbox_deaths, worker.running, worker.last_error) == (
        ("notify", "fetch"),
        2,
        (),
        None,
    )
    assert worker.version
    assert worker.started_at
    assert abs(worker.started_at / 1000 - time.time()) < 60
    assert 0 <= worker.last_beat_s < 30


def test_its_heartbeat_and_what_it_says_are_one_command(belt: RedisQueue) -> None:
    belt.heartbeat("w", silence_ms=MINUTE_MS, info=said())  # and the script is known from here on
    belt.client.config_resetstat()
    belt.heartbeat("w", silence_ms=MINUTE_MS, info=said())
    calls: Any = belt.client.info("commandstats")
    assert calls["cmdstat_evalsha"]["calls"] == 1
    assert calls.keys() <= {f"cmdstat_{name}" for name in (*WITHIN_THE_SCRIPT, "evalsha", "config|resetstat")}
    kept_ms: Any = belt.client.pttl(belt.keys.worker_info("w"))
    assert 30_000 < kept_ms <= 60_000


def test_what_runs_is_told_with_its_stage_for_as_long_as_it_runs() -> None:
    activity, begun, go_on = WorkerActivity(), threading.Event(), threading.Event()

    def work() -> None:
        with activity.working_on("b" * 32, Stage.PERSIST):
            begun.set()
            go_on.wait(10)

    with activity.working_on("a" * 32, Stage.FETCH):
        thread = threading.Thread(target=work)
        thread.start()
        assert begun.wait(10)
        assert [(run.id[0], run.stage) for run in activity.running] == [("a", Stage.FETCH), ("b", Stage.PERSIST)]
        go_on.set()
        thread.join()
    assert activity.running == ()


def test_what_raises_runs_no_more() -> None:
    activity = WorkerActivity()
    with pytest.raises(ValueError, match="broken"), activity.working_on("a" * 32, Stage.FETCH):
        raise ValueError("broken")
    assert activity.running == ()


def test_what_it_runs_and_its_last_error_come_through(belt: RedisQueue, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ACTIVITY, "_last_error", None)
    ACTIVITY.record_error(Code.STORAGE, Stage.PERSIST)
    ACTIVITY.record_error(Code.FETCH_DNS, Stage.FETCH)
    with ACTIVITY.working_on(["a" * 32], Stage.VALIDATE):
        belt.heartbeat("w", silence_ms=MINUTE_MS, info=said())
    [worker] = workers(belt)
    assert [(run.id, run.stage) for run in worker.running] == [("a" * 32, Stage.VALIDATE)]
    assert worker.running[0].since_ms <= time.time() * 1000
    assert worker.last_error
    assert (worker.last_error.code, worker.last_error.stage) == (Code.FETCH_DNS, Stage.FETCH)


def test_one_that_was_silent_too_long_is_dead_and_gone_when_its_words_have_expired(
    belt: RedisQueue, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(reader, "SILENCE_S", 0.05)
    belt.heartbeat("w", silence_ms=MINUTE_MS, info=said())
    time.sleep(0.1)
    assert [worker.alive for worker in workers(belt)] == [False]
    belt.client.delete(belt.keys.worker_info("w"))
    assert workers(belt) == []


def test_one_that_has_signed_off_is_gone_at_once(belt: RedisQueue) -> None:
    belt.heartbeat("w", silence_ms=MINUTE_MS, info=said())
    belt.reap("w", silence_ms=0, crash=False)
    assert workers(belt) == []


@pytest.mark.parametrize("words", ["", "{", "[]", '{"pid": "seven"}', '{"running": [{"stage": "unheard of"}]}'])
def test_one_of_another_version_is_there_whatever_it_says(belt: RedisQueue, words: str) -> None:
    belt.heartbeat("w", silence_ms=MINUTE_MS, info=words)
    [worker] = workers(belt)
    assert (worker.id, worker.alive, worker.host) == ("w", True, "")


def test_the_living_come_first_then_by_host_and_process(belt: RedisQueue) -> None:
    for name, host, pid in (("1", "b", 1), ("2", "a", 20), ("3", "a", 3)):
        belt.heartbeat(name, silence_ms=MINUTE_MS, info=said(host=host, pid=pid))
    belt.client.zadd(belt.keys.workers, {"3": 1})
    assert [worker.id for worker in workers(belt)] == ["2", "1", "3"]


def test_a_full_redis_hears_a_heartbeat_all_the_same(own_valkey: ValkeyServer) -> None:
    belt = RedisQueue(connect(own_valkey.url, timeout_s=2), queues=["fetch"])
    belt.client.config_set("maxmemory", "1")
    belt.heartbeat("w", silence_ms=MINUTE_MS, info=said(host="berlin"))
    assert [worker.host for worker in workers(belt)] == ["berlin"]
