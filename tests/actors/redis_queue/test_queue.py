"""The scripts of the belt, one by one, on a real server."""

from __future__ import annotations

import json
import time

import pytest

from actors.redis_queue.finished_jobs import FinishedJobList
from actors.redis_queue.queue import AckAction, RedisQueue, connect
from pipeline.config.settings import JobRetention
from pipeline.models import Stage
from tests.support.valkey import ValkeyServer

QUEUES = [stage.value for stage in Stage]


@pytest.fixture
def belt(valkey: ValkeyServer) -> RedisQueue:
    return RedisQueue(connect(valkey.url, timeout_s=2), queues=QUEUES)


def counts(belt: RedisQueue, queue: str = "fetch") -> tuple[int, int, int, int]:
    found = belt.stats.counts()[queue]
    return found["ready"], found["delayed"], found["running"], found["dead"]


def test_what_is_offered_is_handed_over_once(belt: RedisQueue) -> None:
    assert belt.enqueue("a", "fetch", b"message")
    due, handed = belt.fetch("w1", 10, QUEUES)
    assert due is None
    assert [(item.key, item.crashes, item.queue, item.data) for item in handed] == [("a", 0, "fetch", b"message")]
    assert belt.fetch("w2", 10, QUEUES) == (None, [])


def test_an_offer_is_not_put_twice_wherever_its_key_is(belt: RedisQueue) -> None:
    assert belt.enqueue("a", "fetch", b"1")
    assert not belt.enqueue("a", "notify", b"2")
    belt.fetch("w1", 1, QUEUES)
    assert not belt.enqueue("a", "fetch", b"3")
    assert counts(belt) == (0, 0, 1, 0)


def test_later_stages_go_out_first_when_asked_so(belt: RedisQueue) -> None:
    belt.enqueue("young", "fetch", b"1")
    belt.enqueue("old", "notify", b"2")
    _, handed = belt.fetch("w1", 2, ["notify", "persist", "validate", "detect", "fetch"])
    assert [item.key for item in handed] == ["old", "young"]


def test_a_finish_whose_answer_was_lost_may_be_sent_again(belt: RedisQueue) -> None:
    belt.enqueue("a", "fetch", b"1")
    _, [item] = belt.fetch("w1", 1, QUEUES)
    step = AckAction("next", "detect", b"2")
    assert belt.ack("w1", "a", item.delivery_id, step)
    assert not belt.ack("w1", "a", item.delivery_id, step)
    assert counts(belt, "detect") == (1, 0, 0, 0)


def test_an_old_finish_does_not_end_a_new_delivery_of_the_same_key(belt: RedisQueue) -> None:
    belt.enqueue("a", "fetch", b"1")
    _, [first] = belt.fetch("w1", 1, QUEUES)
    belt.ack("w1", "a", first.delivery_id, AckAction("next", "detect", b"2"))
    _, [second] = belt.fetch("w1", 1, QUEUES)
    assert not belt.ack("w1", "a", first.delivery_id, AckAction("done", "fetch"))
    assert belt.ack("w1", "a", second.delivery_id, AckAction("done", "detect"))


def test_a_delayed_message_comes_when_it_is_due_and_not_before(belt: RedisQueue) -> None:
    belt.enqueue("a", "fetch", b"1")
    _, [item] = belt.fetch("w1", 1, QUEUES)
    belt.ack("w1", "a", item.delivery_id, AckAction("later", "fetch", b"1", 300))
    due, handed = belt.fetch("w1", 1, QUEUES)
    assert not handed
    assert due is not None
    assert 0.1 < due <= 0.3
    time.sleep(due + 0.01)
    _, [again] = belt.fetch("w1", 1, QUEUES)
    assert again.key == "a"


def test_what_is_due_goes_before_what_has_just_come_the_longest_due_first(belt: RedisQueue) -> None:
    belt.enqueue("late", "fetch", b"1", delay_ms=500)
    belt.enqueue("early", "fetch", b"1", delay_ms=20)
    belt.enqueue("young", "fetch", b"1")
    time.sleep(0.52)
    _, handed = belt.fetch("w1", 3, QUEUES)
    assert [item.key for item in handed] == ["early", "late", "young"]


def test_a_dead_workers_messages_go_back_with_one_crash_more(belt: RedisQueue) -> None:
    belt.enqueue("a", "fetch", b"1")
    belt.fetch("w1", 1, QUEUES)
    time.sleep(0.05)
    assert belt.heartbeat("w2", silence_ms=20) == ["w1"]
    assert belt.reap("w1", silence_ms=20, crash=True) == 1
    assert belt.reap("w1", silence_ms=20, crash=True) == -1
    _, [item] = belt.fetch("w2", 1, QUEUES)
    assert item.crashes == 1


def test_a_living_worker_is_not_reaped(belt: RedisQueue) -> None:
    belt.enqueue("a", "fetch", b"1")
    belt.fetch("w1", 1, QUEUES)
    assert belt.heartbeat("w2", silence_ms=60_000) == []
    assert belt.reap("w1", silence_ms=60_000, crash=True) == -1
    assert counts(belt) == (0, 0, 1, 0)


def test_a_worker_that_was_taken_for_dead_cannot_finish(belt: RedisQueue) -> None:
    belt.enqueue("a", "fetch", b"1")
    _, [item] = belt.fetch("w1", 1, QUEUES)
    belt.reap("w1", silence_ms=0, crash=True)
    assert not belt.ack("w1", "a", item.delivery_id, AckAction("done", "fetch"))
    assert counts(belt) == (1, 0, 0, 0)


def test_a_handed_back_message_is_the_next_and_has_no_crash(belt: RedisQueue) -> None:
    belt.enqueue("a", "fetch", b"1")
    belt.enqueue("b", "fetch", b"2")
    _, [item] = belt.fetch("w1", 1, QUEUES)
    belt.ack("w1", "a", item.delivery_id, AckAction("back", "fetch"))
    _, [again] = belt.fetch("w2", 1, QUEUES)
    assert (again.key, again.crashes) == ("a", 0)


def test_the_answer_to_a_fetch_can_be_had_again(belt: RedisQueue) -> None:
    belt.enqueue("a", "validate", b"1")
    _, handed = belt.fetch("w1", 1, QUEUES)
    assert belt.held_messages("w1") == handed


def test_a_chore_is_one_callers_until_its_time_is_over_or_longer_if_it_is_kept(belt: RedisQueue) -> None:
    lock = belt.keys.lock("chore")
    assert belt.locks.acquire("chore", ttl_ms=60_000)
    assert 0 < belt.client.pttl(lock) <= 60_000
    belt.locks.extend("chore", ttl_ms=600_000)
    assert belt.client.pttl(lock) > 60_000
    assert not belt.locks.acquire("chore", ttl_ms=60_000)
    belt.client.delete(lock)
    belt.locks.extend("chore", ttl_ms=60_000)
    assert belt.locks.acquire("chore", ttl_ms=60_000)


def test_garbage_in_a_queue_becomes_a_dead_letter(belt: RedisQueue) -> None:
    belt.client.rpush(belt.keys.ready("fetch"), b"\xff\xfe not a key")
    belt.enqueue("a", "fetch", b"1")
    _, handed = belt.fetch("w1", 5, QUEUES)
    assert [item.key for item in handed] == ["a"]
    assert counts(belt) == (0, 0, 1, 1)


def test_a_message_whose_key_is_no_text_can_be_thrown_out(belt: RedisQueue) -> None:
    belt.client.hset(belt.keys.messages, b"\xff\xfe", b"not a message")
    belt.client.rpush(belt.keys.ready("fetch"), b"\xff\xfe")
    _, [item] = belt.fetch("w1", 1, QUEUES)
    assert belt.mark_started("w1", item.key, item.delivery_id)
    assert belt.ack("w1", item.key, item.delivery_id, AckAction("dead", "fetch", item.data))
    assert counts(belt) == (0, 0, 0, 1)


def test_a_dead_letter_that_is_offered_again_is_none_any_more(belt: RedisQueue) -> None:
    belt.enqueue("a", "fetch", b"1")
    _, [item] = belt.fetch("w1", 1, QUEUES)
    belt.ack("w1", "a", item.delivery_id, AckAction("dead", "persist", b"1"))
    assert counts(belt, "persist") == (0, 0, 0, 1)
    belt.enqueue("a", "fetch", b"1")
    assert counts(belt, "persist") == (0, 0, 0, 0)


def ack_many(belt: RedisQueue, shelf: FinishedJobList, count: int) -> list[dict[str, int]]:
    for number in range(count):
        belt.enqueue(f"k{number}", "notify", b"1")
        _, [item] = belt.fetch("w1", 1, QUEUES)
        belt.ack(
            "w1",
            item.key,
            item.delivery_id,
            AckAction("done", "notify"),
            finished_job=(shelf, json.dumps({"n": number})),
        )
        time.sleep(0.002)
    return [json.loads(entry) for entry in belt.finished_jobs(shelf.name)]


def test_the_ledger_keeps_the_newest(belt: RedisQueue) -> None:
    kept = ack_many(belt, FinishedJobList("completed", JobRetention(count=5), 60), 12)
    assert [entry["n"] for entry in kept] == [11, 10, 9, 8, 7]


def test_the_ledger_keeps_nothing_where_jobs_are_removed_at_once(belt: RedisQueue) -> None:
    assert ack_many(belt, FinishedJobList("failed", JobRetention(count=0), 60), 3) == []


def test_the_ledger_keeps_everything_where_nothing_is_removed(belt: RedisQueue) -> None:
    assert len(ack_many(belt, FinishedJobList("failed", JobRetention(), 60), 60)) == 60


def test_the_ledger_forgets_what_is_too_old(belt: RedisQueue) -> None:
    shelf = FinishedJobList("completed", JobRetention(age=1), 60)
    ack_many(belt, shelf, 3)
    time.sleep(1.1)
    belt.enqueue("last", "notify", b"1")
    _, [item] = belt.fetch("w1", 1, QUEUES)
    belt.ack("w1", "last", item.delivery_id, AckAction("done", "notify"), finished_job=(shelf, '{"n": 99}'))
    assert [json.loads(entry)["n"] for entry in belt.finished_jobs("completed")] == [99]


def test_the_ledger_has_a_time_to_live(belt: RedisQueue) -> None:
    ack_many(belt, FinishedJobList("completed", JobRetention(count=5), 60), 1)
    assert 0 < belt.client.pttl(belt.keys.finished_index("completed")) <= 60_000
    assert 0 < belt.client.pttl(belt.keys.finished_entries("completed")) <= 60_000


def test_every_key_lies_in_one_slot(belt: RedisQueue) -> None:
    belt.enqueue("a", "fetch", b"1")
    _, [item] = belt.fetch("w1", 1, QUEUES)
    belt.ack(
        "w1",
        "a",
        item.delivery_id,
        AckAction("dead", "fetch", b"1"),
        finished_job=(FinishedJobList("failed", JobRetention(), 60), "{}"),
    )
    assert all(key.startswith(b"{esteira}:") for key in belt.client.keys("*"))


def test_missing_names_what_is_not_on_the_belt(belt: RedisQueue) -> None:
    belt.enqueue("a", "fetch", b"1")
    assert belt.find_missing(["a", "b"]) == ["b"]
    assert belt.find_missing([]) == []
