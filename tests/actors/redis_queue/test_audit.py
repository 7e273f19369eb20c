"""A belt of which Redis has thrown parts away: it is told from a whole one, and nothing stays behind."""

from __future__ import annotations

import time

import pytest

from actors.redis_queue.queue import AckAction, RedisQueue, connect
from actors.redis_queue.scheduling import SchedulingInfo
from pipeline.models import Stage
from tests.support.valkey import ValkeyServer

QUEUES = [stage.value for stage in Stage]
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
def belt(valkey: ValkeyServer) -> RedisQueue:
    return RedisQueue(connect(valkey.url, timeout_s=5), queues=QUEUES)


def offer(belt: RedisQueue, key: str, *, delay_ms: int = 0) -> bool:
    return belt.enqueue(key, "fetch", b"message", scheduling=SchedulingInfo("s"), delay_ms=delay_ms)


def fill(belt: RedisQueue) -> None:
    """Two messages are held, two wait, one is delayed."""
    for key in IDS[:-1]:
        offer(belt, key)
    belt.fetch("w", 2, QUEUES)
    offer(belt, "late", delay_ms=20)
    time.sleep(0.03)


def put_back(belt: RedisQueue) -> list[str]:
    return [key for key in belt.find_missing(IDS) if offer(belt, key)]


def work_off(belt: RedisQueue) -> list[str]:
    done = []
    while handed := belt.fetch("v", 9, QUEUES)[1]:
        for item in handed:
            assert belt.ack("v", item.key, item.delivery_id, AckAction("done", item.queue))
            done.append(item.key)
    return sorted(done)


@pytest.mark.parametrize("lost", PARTS)
def test_whichever_part_is_thrown_away_every_message_runs_once(belt: RedisQueue, lost: str) -> None:
    fill(belt)
    belt.client.delete(f"{{esteira}}:{lost}")
    assert (belt.audit() > 0) == (lost != "flight")
    assert belt.audit() == 0
    put_back(belt)
    assert belt.audit() == 0
    belt.reap("w", silence_ms=0, crash=True)
    assert work_off(belt) == IDS
    assert belt.client.exists(belt.keys.messages, belt.keys.in_flight, belt.keys.session_marks) == 0


def test_a_belt_that_is_whole_loses_nothing(belt: RedisQueue) -> None:
    fill(belt)
    assert belt.audit() == 0
    assert put_back(belt) == []
    belt.reap("w", silence_ms=0, crash=True)
    assert work_off(belt) == IDS


def test_what_is_held_goes_on_when_what_waits_is_dropped(belt: RedisQueue) -> None:
    fill(belt)
    belt.client.delete(belt.keys.waiting("fetch", "small"))
    assert belt.audit() == 3
    assert belt.find_missing(IDS) == ["c", "d", "late"]
    for item in belt.held_messages("w"):
        assert belt.ack("w", item.key, item.delivery_id, AckAction("next", "detect", b"next"))
    assert belt.stats.counts()["detect"]["ready"] == 2
    assert belt.audit() == 0


@pytest.mark.parametrize("wrong", [{"s": 5000}, {"s": 2000, "t": 1000}, {}])
def test_accounts_that_are_wrong_are_drawn_up_anew(belt: RedisQueue, wrong: dict[str, int]) -> None:
    fill(belt)
    belt.client.delete(belt.keys.in_flight)
    for session, charge in wrong.items():
        belt.client.hset(belt.keys.in_flight, session, charge)
    assert belt.audit() == 0
    assert belt.client.hgetall(belt.keys.in_flight) == {b"s": b"2000"}
    assert put_back(belt) == []


def test_nothing_is_judged_while_lists_of_the_former_version_wait(belt: RedisQueue) -> None:
    fill(belt)
    belt.client.rpush(belt.keys.ready("notify"), "nowhere")
    belt.client.delete(belt.keys.waiting("fetch", "small"))
    assert belt.audit() == -1
    assert belt.find_missing(IDS) == []


def test_a_message_that_waits_twice_is_given_to_its_holder_once(belt: RedisQueue) -> None:
    offer(belt, "a")
    belt.client.delete(belt.keys.messages)
    offer(belt, "a")
    _, handed = belt.fetch("w", 9, QUEUES)
    assert [item.key for item in handed] == ["a"]
    assert belt.client.hgetall(belt.keys.in_flight) == {b"s": b"1000"}


def test_a_fetch_gives_up_after_so_many_that_are_nothing_and_the_next_goes_on(belt: RedisQueue) -> None:
    for number in range(600):
        offer(belt, f"{number:03}")
    belt.client.delete(belt.keys.messages)
    offer(belt, "good")
    for left in (350, 100):
        assert belt.fetch("w", 4, QUEUES) == (0, [])
        assert belt.stats.counts()["fetch"]["ready"] == left + 1
    due, [item] = belt.fetch("w", 4, QUEUES)
    assert (due, item.key) == (None, "good")


def test_what_is_delayed_does_not_wait_for_a_clock_that_was_ahead(belt: RedisQueue) -> None:
    hours_ahead = int(time.time() * 1000) + 3 * 3_600_000
    for key in ("ahead", "since"):
        offer(belt, key, delay_ms=60_000)
    assert belt.audit() == 0
    belt.client.set(belt.keys.clock, hours_ahead)
    belt.client.zadd(belt.keys.delayed("fetch"), {"ahead": hours_ahead + 30_000})
    assert belt.audit() == 0
    due, handed = belt.fetch("w", 9, QUEUES)
    assert handed == []
    assert due is not None
    assert 25 < due <= 30
    since = belt.client.zscore(belt.keys.delayed("fetch"), "since")
    assert since is not None
    assert since - time.time() * 1000 > 50_000


def test_the_dead_do_not_live_by_a_clock_that_was_ahead(belt: RedisQueue) -> None:
    offer(belt, "a")
    belt.fetch("dead", 1, QUEUES)
    hours_ahead = int(time.time() * 1000) + 3 * 3_600_000
    belt.client.zadd(belt.keys.workers, {"dead": hours_ahead})
    assert belt.heartbeat("w", silence_ms=100) == []
    time.sleep(0.12)
    assert belt.heartbeat("w", silence_ms=100) == ["dead"]
    assert belt.reap("dead", silence_ms=100, crash=True) == 1
