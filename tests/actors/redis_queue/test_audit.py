"""Audits of a queue of which Redis has evicted parts: no message is lost, and none runs twice."""

from __future__ import annotations

import time

import pytest

from actors.redis_queue.messages import AckAction
from actors.redis_queue.queue import RedisQueue
from actors.redis_queue.scheduling import SchedulingInfo
from pipeline.models import Stage
from pipeline.redis_client import connect
from tests.support.valkey import ValkeyServer

QUEUES = [stage.value for stage in Stage]
DOWNLOAD = 2**36  # what a download adds to the number in `flight`, beside its load
PARTS = [
    "waiting:fetch:small",
    "turns:fetch:small",
    "delayed:fetch",
    "standing",
    "held:w",
    "messages",
    "workers",
    "flight",
]
IDS = ["a", "b", "c", "d", "late"]


@pytest.fixture
def queue(valkey: ValkeyServer) -> RedisQueue:
    return RedisQueue(connect(valkey.url, timeout_s=5), queues=QUEUES)


def enqueue(queue: RedisQueue, key: str, *, delay_ms: int = 0) -> bool:
    return queue.enqueue(key, "fetch", b"message", scheduling=SchedulingInfo("s"), delay_ms=delay_ms)


def fill(queue: RedisQueue) -> None:
    """Enqueues five messages: two are held, two wait, one is delayed."""
    for key in IDS[:-1]:
        enqueue(queue, key)
    queue.fetch("w", 2, QUEUES)
    enqueue(queue, "late", delay_ms=20)
    time.sleep(0.03)


def requeue_missing(queue: RedisQueue) -> list[str]:
    return [key for key in queue.find_missing(IDS) if enqueue(queue, key)]


def ack_all(queue: RedisQueue) -> list[str]:
    done = []
    while messages := queue.fetch("v", 9, QUEUES)[1]:
        for item in messages:
            assert queue.ack("v", item.key, item.delivery_id, AckAction("done", item.queue))
            done.append(item.key)
    return sorted(done)


@pytest.mark.parametrize("lost", PARTS)
def test_every_message_runs_once_whichever_part_was_evicted(queue: RedisQueue, lost: str) -> None:
    fill(queue)
    queue.client.delete(f"{{esteira}}:{lost}")
    assert (queue.audit() > 0) == (lost != "flight")
    assert queue.audit() == 0
    requeue_missing(queue)
    assert queue.audit() == 0
    queue.reap("w", silence_ms=0, crash=True)
    assert ack_all(queue) == IDS
    assert queue.client.exists(queue.keys.messages, queue.keys.in_flight, queue.keys.session_marks) == 0


def test_audit_drops_nothing_from_a_consistent_queue(queue: RedisQueue) -> None:
    fill(queue)
    assert queue.audit() == 0
    assert requeue_missing(queue) == []
    queue.reap("w", silence_ms=0, crash=True)
    assert ack_all(queue) == IDS


def test_audit_keeps_held_messages(queue: RedisQueue) -> None:
    fill(queue)
    queue.client.delete(queue.keys.waiting("fetch", "small"))
    assert queue.audit() == 3
    assert queue.find_missing(IDS) == ["c", "d", "late"]
    for item in queue.held_messages("w"):
        assert queue.ack("w", item.key, item.delivery_id, AckAction("next", "detect", b"next"))
    assert queue.stats.counts()["detect"]["ready"] == 2
    assert queue.audit() == 0


@pytest.mark.parametrize("wrong", [{"s": 5000}, {"s": 2000, "t": 1000}, {}])
def test_audit_corrects_what_is_in_flight(queue: RedisQueue, wrong: dict[str, int]) -> None:
    fill(queue)
    queue.client.delete(queue.keys.in_flight)
    for session, charge in wrong.items():
        queue.client.hset(queue.keys.in_flight, session, charge)
    assert queue.audit() == 0
    assert queue.client.hgetall(queue.keys.in_flight) == {b"s": b"%d" % (2 * (DOWNLOAD + 1000))}
    assert requeue_missing(queue) == []


def test_message_that_waits_twice_is_fetched_once(queue: RedisQueue) -> None:
    enqueue(queue, "a")
    queue.client.delete(queue.keys.messages)
    enqueue(queue, "a")
    _, messages, _ = queue.fetch("w", 9, QUEUES)
    assert [item.key for item in messages] == ["a"]
    assert queue.client.hgetall(queue.keys.in_flight) == {b"s": b"%d" % (DOWNLOAD + 1000)}


def test_fetch_skips_a_limited_number_of_entries_without_messages(queue: RedisQueue) -> None:
    for number in range(600):
        enqueue(queue, f"{number:03}")
    queue.client.delete(queue.keys.messages)
    enqueue(queue, "good")
    for left in (350, 100):
        assert queue.fetch("w", 4, QUEUES) == (0, [], False)
        assert queue.stats.counts()["fetch"]["ready"] == left + 1
    due, [item], _ = queue.fetch("w", 4, QUEUES)
    assert (due, item.key) == (None, "good")


def test_audit_moves_delayed_messages_after_the_clock_was_set_back(queue: RedisQueue) -> None:
    hours_ahead = int(time.time() * 1000) + 3 * 3_600_000
    for key in ("ahead", "since"):
        enqueue(queue, key, delay_ms=60_000)
    assert queue.audit() == 0
    queue.client.set(queue.keys.clock, hours_ahead)
    queue.client.zadd(queue.keys.delayed("fetch"), {"ahead": hours_ahead + 30_000})
    assert queue.audit() == 0
    due, messages, _ = queue.fetch("w", 9, QUEUES)
    assert messages == []
    assert due is not None
    assert 25 < due <= 30
    since = queue.client.zscore(queue.keys.delayed("fetch"), "since")
    assert since is not None
    assert since - time.time() * 1000 > 50_000


def test_heartbeats_from_the_future_do_not_keep_dead_workers_alive(queue: RedisQueue) -> None:
    enqueue(queue, "a")
    queue.fetch("dead", 1, QUEUES)
    hours_ahead = int(time.time() * 1000) + 3 * 3_600_000
    queue.client.zadd(queue.keys.workers, {"dead": hours_ahead})
    assert queue.heartbeat("w", silence_ms=100) == []
    time.sleep(0.12)
    assert queue.heartbeat("w", silence_ms=100) == ["dead"]
    assert queue.reap("dead", silence_ms=100, crash=True) == 1
