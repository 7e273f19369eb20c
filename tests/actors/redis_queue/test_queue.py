"""The commands of the queue, one by one, on a real server."""

from __future__ import annotations

import json
import time

import pytest

from actors.redis_queue.finished_jobs import FinishedJobList
from actors.redis_queue.messages import AckAction, EnqueueRequest
from actors.redis_queue.queue import RedisQueue
from pipeline.config.job_retention import JobRetention
from pipeline.models import Stage
from pipeline.redis_client import connect
from tests.support.finished_jobs import finished_jobs
from tests.support.valkey import ValkeyServer

QUEUES = [stage.value for stage in Stage]


@pytest.fixture
def queue(valkey: ValkeyServer) -> RedisQueue:
    return RedisQueue(connect(valkey.url, timeout_s=2), queues=QUEUES)


def counts(queue: RedisQueue, name: str = "fetch") -> tuple[int, int, int, int]:
    """Ready, delayed, running and dead messages."""
    states = queue.stats.counts()[name]
    return states["ready"], states["delayed"], states["running"], states["dead"]


def test_enqueued_message_is_fetched_once(queue: RedisQueue) -> None:
    assert queue.enqueue("a", "fetch", b"message")
    due, messages, _ = queue.fetch("w1", 10, QUEUES)
    assert due is None
    assert [(item.key, item.crashes, item.queue, item.data) for item in messages] == [("a", 0, "fetch", b"message")]
    assert queue.fetch("w2", 10, QUEUES) == (None, [], False)


def test_enqueue_ignores_a_key_that_is_in_the_queue(queue: RedisQueue) -> None:
    assert queue.enqueue("a", "fetch", b"1")
    assert not queue.enqueue("a", "notify", b"2")
    queue.fetch("w1", 1, QUEUES)
    assert not queue.enqueue("a", "fetch", b"3")
    assert counts(queue) == (0, 0, 1, 0)


def test_messages_enqueued_together_keep_their_order_and_their_keys_once(queue: RedisQueue) -> None:
    queue.enqueue("k3", "fetch", b"first")
    requests = [EnqueueRequest(f"k{number}", "fetch", b"m") for number in (5, 3, 4, 5, 1)]
    assert (queue.enqueue_many(requests), queue.enqueue_many(requests), queue.enqueue_many([])) == (3, 0, 0)
    fetched = queue.fetch("w", 9, ["fetch"]).messages
    assert [(message.key, message.data) for message in fetched] == [
        ("k3", b"first"),
        ("k5", b"m"),
        ("k4", b"m"),
        ("k1", b"m"),
    ]


def test_lock_is_free_after_its_release(queue: RedisQueue) -> None:
    assert queue.locks.acquire("task", ttl_ms=60_000)
    queue.locks.release("task")
    assert queue.locks.acquire("task", ttl_ms=60_000)


def test_fetch_serves_queues_in_the_given_order(queue: RedisQueue) -> None:
    queue.enqueue("young", "fetch", b"1")
    queue.enqueue("old", "notify", b"2")
    _, messages, _ = queue.fetch("w1", 2, ["notify", "persist", "validate", "detect", "fetch"])
    assert [item.key for item in messages] == ["old", "young"]


def test_repeated_ack_has_no_effect(queue: RedisQueue) -> None:
    queue.enqueue("a", "fetch", b"1")
    _, [item], _ = queue.fetch("w1", 1, QUEUES)
    action = AckAction("next", "detect", b"2")
    assert queue.ack("w1", "a", item.delivery_id, action)
    assert not queue.ack("w1", "a", item.delivery_id, action)
    assert counts(queue, "detect") == (1, 0, 0, 0)


def test_ack_of_an_old_delivery_is_rejected(queue: RedisQueue) -> None:
    queue.enqueue("a", "fetch", b"1")
    _, [first], _ = queue.fetch("w1", 1, QUEUES)
    queue.ack("w1", "a", first.delivery_id, AckAction("next", "detect", b"2"))
    _, [second], _ = queue.fetch("w1", 1, QUEUES)
    assert not queue.ack("w1", "a", first.delivery_id, AckAction("done", "fetch"))
    assert queue.ack("w1", "a", second.delivery_id, AckAction("done", "detect"))


def test_delayed_message_is_fetched_when_due(queue: RedisQueue) -> None:
    queue.enqueue("a", "fetch", b"1")
    _, [item], _ = queue.fetch("w1", 1, QUEUES)
    queue.ack("w1", "a", item.delivery_id, AckAction("later", "fetch", b"1", 300))
    due, messages, _ = queue.fetch("w1", 1, QUEUES)
    assert not messages
    assert due is not None
    assert 0.1 < due <= 0.3
    time.sleep(due + 0.01)
    _, [again], _ = queue.fetch("w1", 1, QUEUES)
    assert again.key == "a"


def test_due_messages_are_fetched_before_new_ones(queue: RedisQueue) -> None:
    queue.enqueue("late", "fetch", b"1", delay_ms=500)
    queue.enqueue("early", "fetch", b"1", delay_ms=20)
    queue.enqueue("young", "fetch", b"1")
    time.sleep(0.52)
    _, messages, _ = queue.fetch("w1", 3, QUEUES)
    assert [item.key for item in messages] == ["early", "late", "young"]


def test_reap_requeues_messages_of_a_dead_worker_and_counts_a_crash(queue: RedisQueue) -> None:
    queue.enqueue("a", "fetch", b"1")
    queue.fetch("w1", 1, QUEUES)
    time.sleep(0.05)
    assert queue.heartbeat("w2", silence_ms=20) == ["w1"]
    assert queue.reap("w1", silence_ms=20, crash=True) == 1
    assert queue.reap("w1", silence_ms=20, crash=True) == -1
    _, [item], _ = queue.fetch("w2", 1, QUEUES)
    assert item.crashes == 1


def test_reap_leaves_a_living_worker_alone(queue: RedisQueue) -> None:
    queue.enqueue("a", "fetch", b"1")
    queue.fetch("w1", 1, QUEUES)
    assert queue.heartbeat("w2", silence_ms=60_000) == []
    assert queue.reap("w1", silence_ms=60_000, crash=True) == -1
    assert counts(queue) == (0, 0, 1, 0)


def test_reaped_worker_cannot_ack(queue: RedisQueue) -> None:
    queue.enqueue("a", "fetch", b"1")
    _, [item], _ = queue.fetch("w1", 1, QUEUES)
    queue.reap("w1", silence_ms=0, crash=True)
    assert not queue.ack("w1", "a", item.delivery_id, AckAction("done", "fetch"))
    assert counts(queue) == (1, 0, 0, 0)


def test_returned_message_is_fetched_next_without_a_crash(queue: RedisQueue) -> None:
    queue.enqueue("a", "fetch", b"1")
    queue.enqueue("b", "fetch", b"2")
    _, [item], _ = queue.fetch("w1", 1, QUEUES)
    queue.ack("w1", "a", item.delivery_id, AckAction("back", "fetch"))
    _, [again], _ = queue.fetch("w2", 1, QUEUES)
    assert (again.key, again.crashes) == ("a", 0)


def test_held_messages_repeats_the_answer_of_a_fetch(queue: RedisQueue) -> None:
    queue.enqueue("a", "validate", b"1")
    _, messages, _ = queue.fetch("w1", 1, QUEUES)
    assert queue.held_messages("w1") == messages


def test_lock_is_exclusive_until_it_expires_and_can_be_extended(queue: RedisQueue) -> None:
    lock = queue.keys.lock("sweep")
    assert queue.locks.acquire("sweep", ttl_ms=60_000)
    assert 0 < queue.client.pttl(lock) <= 60_000
    queue.locks.extend("sweep", ttl_ms=600_000)
    assert queue.client.pttl(lock) > 60_000
    assert not queue.locks.acquire("sweep", ttl_ms=60_000)
    queue.client.delete(lock)
    queue.locks.extend("sweep", ttl_ms=60_000)
    assert queue.locks.acquire("sweep", ttl_ms=60_000)


def test_key_without_a_message_becomes_a_dead_letter(queue: RedisQueue) -> None:
    queue.client.zadd(queue.keys.delayed("fetch"), {b"\xff\xfe not a key": 1})
    queue.enqueue("a", "fetch", b"1")
    _, messages, _ = queue.fetch("w1", 5, QUEUES)
    assert [item.key for item in messages] == ["a"]
    assert counts(queue) == (0, 0, 1, 1)


def test_message_with_a_non_utf8_key_can_be_acknowledged(queue: RedisQueue) -> None:
    queue.client.hset(queue.keys.messages, b"\xff\xfe", b"not a message")
    queue.client.zadd(queue.keys.delayed("fetch"), {b"\xff\xfe": 1})
    _, [item], _ = queue.fetch("w1", 1, QUEUES)
    assert queue.mark_started("w1", item.key, item.delivery_id)
    assert queue.ack("w1", item.key, item.delivery_id, AckAction("dead", "fetch", item.data))
    assert counts(queue) == (0, 0, 0, 1)


def test_enqueue_removes_the_dead_letter_of_the_key(queue: RedisQueue) -> None:
    queue.enqueue("a", "fetch", b"1")
    _, [item], _ = queue.fetch("w1", 1, QUEUES)
    queue.ack("w1", "a", item.delivery_id, AckAction("dead", "persist", b"1"))
    assert counts(queue, "persist") == (0, 0, 0, 1)
    queue.enqueue("a", "fetch", b"1")
    assert counts(queue, "persist") == (0, 0, 0, 0)


def finish_jobs(queue: RedisQueue, job_list: FinishedJobList, count: int) -> list[dict[str, int]]:
    for number in range(count):
        queue.enqueue(f"k{number}", "notify", b"1")
        _, [item], _ = queue.fetch("w1", 1, QUEUES)
        queue.ack(
            "w1",
            item.key,
            item.delivery_id,
            AckAction("done", "notify"),
            finished_job=(job_list, json.dumps({"n": number})),
        )
        time.sleep(0.002)
    return [json.loads(entry) for entry in finished_jobs(queue, job_list.name)]


def test_finished_jobs_keep_the_newest_entries(queue: RedisQueue) -> None:
    kept = finish_jobs(queue, FinishedJobList("completed", JobRetention(count=5), 60), 12)
    assert [entry["n"] for entry in kept] == [11, 10, 9, 8, 7]


def test_finished_jobs_keep_nothing_with_count_zero(queue: RedisQueue) -> None:
    assert finish_jobs(queue, FinishedJobList("failed", JobRetention(count=0), 60), 3) == []


def test_finished_jobs_keep_everything_without_limits(queue: RedisQueue) -> None:
    assert len(finish_jobs(queue, FinishedJobList("failed", JobRetention(), 60), 60)) == 60


def test_finished_jobs_drop_entries_older_than_the_age(queue: RedisQueue) -> None:
    job_list = FinishedJobList("completed", JobRetention(age=1), 60)
    finish_jobs(queue, job_list, 3)
    time.sleep(1.1)
    queue.enqueue("last", "notify", b"1")
    _, [item], _ = queue.fetch("w1", 1, QUEUES)
    queue.ack("w1", "last", item.delivery_id, AckAction("done", "notify"), finished_job=(job_list, '{"n": 99}'))
    assert [json.loads(entry)["n"] for entry in finished_jobs(queue, "completed")] == [99]


def test_finished_jobs_have_a_time_to_live(queue: RedisQueue) -> None:
    finish_jobs(queue, FinishedJobList("completed", JobRetention(count=5), 60), 1)
    assert 0 < queue.client.pttl(queue.keys.finished_index("completed")) <= 60_000
    assert 0 < queue.client.pttl(queue.keys.finished_entries("completed")) <= 60_000


def test_all_keys_share_one_hash_slot(queue: RedisQueue) -> None:
    queue.enqueue("a", "fetch", b"1")
    _, [item], _ = queue.fetch("w1", 1, QUEUES)
    queue.ack(
        "w1",
        "a",
        item.delivery_id,
        AckAction("dead", "fetch", b"1"),
        finished_job=(FinishedJobList("failed", JobRetention(), 60), "{}"),
    )
    assert all(key.startswith(b"{esteira}:") for key in queue.client.keys("*"))


def test_find_missing_returns_keys_that_are_not_in_the_queue(queue: RedisQueue) -> None:
    queue.enqueue("a", "fetch", b"1")
    assert queue.find_missing(["a", "b"]) == ["b"]
    assert queue.find_missing([]) == []
