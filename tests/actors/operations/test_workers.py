"""The list of workers, from the info that they send with their heartbeats."""

from __future__ import annotations

import threading
import time
from typing import Any

import pytest

from actors.observability.worker_info import ACTIVITY, WorkerActivity, WorkerIdentity
from actors.operations import workers as reader
from actors.operations.workers import workers
from actors.redis_queue.queue import RedisQueue
from pipeline.errors import Code
from pipeline.models import Stage
from pipeline.redis_client import connect
from tests.support.valkey import ValkeyServer

MINUTE_MS = 60_000
WITHIN_THE_SCRIPT = ("time", "zrem", "zadd", "set", "zrangebyscore")


@pytest.fixture
def queue(valkey: ValkeyServer) -> RedisQueue:
    return RedisQueue(connect(valkey.url, timeout_s=2), queues=[stage.value for stage in Stage])


def worker_info(**fields: object) -> str:
    identity = WorkerIdentity(threads=4, queues=["notify", "fetch"])
    return identity.current_info(sandbox_deaths=2).model_copy(update=fields).model_dump_json()


def test_worker_status_has_the_info_of_the_heartbeat(queue: RedisQueue, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ACTIVITY, "_last_error", None)
    queue.heartbeat("w", silence_ms=MINUTE_MS, info=worker_info(host="berlin", pid=7))
    [worker] = workers(queue)
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


def test_heartbeat_and_info_are_one_command(queue: RedisQueue) -> None:
    queue.heartbeat("w", silence_ms=MINUTE_MS, info=worker_info())  # and the script is known from here on
    queue.client.config_resetstat()
    queue.heartbeat("w", silence_ms=MINUTE_MS, info=worker_info())
    calls: Any = queue.client.info("commandstats")
    assert calls["cmdstat_evalsha"]["calls"] == 1
    assert calls.keys() <= {f"cmdstat_{name}" for name in (*WITHIN_THE_SCRIPT, "evalsha", "config|resetstat")}
    kept_ms: Any = queue.client.pttl(queue.keys.worker_info("w"))
    assert 30_000 < kept_ms <= 60_000


def test_activity_lists_running_stages() -> None:
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


def test_activity_ends_after_an_exception() -> None:
    activity = WorkerActivity()
    with pytest.raises(ValueError, match="broken"), activity.working_on("a" * 32, Stage.FETCH):
        raise ValueError("broken")
    assert activity.running == ()


def test_worker_status_has_running_attachments_and_the_last_error(
    queue: RedisQueue, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ACTIVITY, "_last_error", None)
    ACTIVITY.record_error(Code.STORAGE, Stage.PERSIST)
    ACTIVITY.record_error(Code.FETCH_DNS, Stage.FETCH)
    with ACTIVITY.working_on(["a" * 32], Stage.VALIDATE):
        queue.heartbeat("w", silence_ms=MINUTE_MS, info=worker_info())
    [worker] = workers(queue)
    assert [(run.id, run.stage) for run in worker.running] == [("a" * 32, Stage.VALIDATE)]
    assert worker.running[0].since_ms <= time.time() * 1000
    assert worker.last_error
    assert (worker.last_error.code, worker.last_error.stage) == (Code.FETCH_DNS, Stage.FETCH)


def test_silent_worker_is_dead_until_its_info_expires(queue: RedisQueue, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(reader, "SILENCE_S", 0.05)
    queue.heartbeat("w", silence_ms=MINUTE_MS, info=worker_info())
    time.sleep(0.1)
    assert [worker.alive for worker in workers(queue)] == [False]
    queue.client.delete(queue.keys.worker_info("w"))
    assert workers(queue) == []


def test_stopped_worker_is_not_listed(queue: RedisQueue) -> None:
    queue.heartbeat("w", silence_ms=MINUTE_MS, info=worker_info())
    queue.reap("w", silence_ms=0, crash=False)
    assert workers(queue) == []


@pytest.mark.parametrize("info", ["", "{", "[]", '{"pid": "seven"}', '{"running": [{"stage": "unheard of"}]}'])
def test_worker_with_unreadable_info_is_listed(queue: RedisQueue, info: str) -> None:
    queue.heartbeat("w", silence_ms=MINUTE_MS, info=info)
    [worker] = workers(queue)
    assert (worker.id, worker.alive, worker.host) == ("w", True, "")


def test_workers_are_sorted_by_life_host_and_process(queue: RedisQueue) -> None:
    for name, host, pid in (("1", "b", 1), ("2", "a", 20), ("3", "a", 3)):
        queue.heartbeat(name, silence_ms=MINUTE_MS, info=worker_info(host=host, pid=pid))
    queue.client.zadd(queue.keys.workers, {"3": 1})
    assert [worker.id for worker in workers(queue)] == ["2", "1", "3"]


def test_heartbeat_works_on_a_full_redis(own_valkey: ValkeyServer) -> None:
    queue = RedisQueue(connect(own_valkey.url, timeout_s=2), queues=["fetch"])
    queue.client.config_set("maxmemory", "1")
    queue.heartbeat("w", silence_ms=MINUTE_MS, info=worker_info(host="berlin"))
    assert [worker.host for worker in workers(queue)] == ["berlin"]
