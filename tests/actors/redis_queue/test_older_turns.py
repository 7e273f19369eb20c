"""The turns and members that workers of the version before the history leave in Redis, and write during an upgrade."""

from __future__ import annotations

import time

import pytest

from actors.redis_queue.messages import AckAction, FetchedMessage
from actors.redis_queue.queue import RedisQueue
from actors.redis_queue.scheduling import SchedulingInfo
from pipeline.catalogue.pauses import Pause
from pipeline.models import Stage
from pipeline.redis_client import connect
from tests.support.valkey import ValkeyServer

QUEUES = [stage.value for stage in Stage]
OLDER_BAND, OLDER_LOAD = 2**50, 2**40  # 512 loads of these reach the number at which the history begins now
SESSIONS = ("a", "b", "c")
KEYS = sorted(f"{session}-{number}" for session in SESSIONS for number in range(4))


@pytest.fixture
def queue(valkey: ValkeyServer) -> RedisQueue:
    return RedisQueue(connect(valkey.url, timeout_s=2), queues=QUEUES)


def older_turn(load: int, *, urgent: bool = False) -> int:
    return (0 if urgent else OLDER_BAND) + load * OLDER_LOAD + int(time.time() * 1000) % OLDER_LOAD


def enqueue_all(queue: RedisQueue) -> None:
    for key in KEYS:
        assert queue.enqueue(key, "fetch", b"message", scheduling=SchedulingInfo(key[0]))


def fetch_and_finish_all(queue: RedisQueue) -> list[str]:
    """The keys in the order of their deliveries, two at a time, so that turns are read and written in between."""
    keys: list[str] = []
    while messages := queue.fetch("w", 2, QUEUES).messages:
        keys += [message.key for message in messages]
        for message in messages:
            finish(queue, message)
    return keys


def finish(queue: RedisQueue, message: FetchedMessage) -> None:
    assert queue.ack("w", message.key, message.delivery_id, AckAction("done", message.queue))


@pytest.mark.parametrize("urgent", [False, True])
@pytest.mark.parametrize("load", [0, 1, 511, 512, 1023])
def test_messages_with_turns_of_an_older_version_are_fetched_once(queue: RedisQueue, load: int, urgent: bool) -> None:
    enqueue_all(queue)
    queue.client.zadd(queue.keys.turns("fetch", "small"), {"b": older_turn(load, urgent=urgent)})
    assert sorted(fetch_and_finish_all(queue)) == KEYS
    assert queue.audit() == 0


@pytest.mark.parametrize("load", [0, 512, 1023])
def test_turn_of_an_older_version_keeps_its_pause(queue: RedisQueue, load: int) -> None:
    enqueue_all(queue)
    queue.client.zadd(queue.keys.turns("fetch", "small"), {"b": older_turn(load)})
    queue.publish_pauses([Pause("session", "b", 1)], version="")
    assert sorted(fetch_and_finish_all(queue)) == [key for key in KEYS if not key.startswith("b")]
    queue.publish_pauses([], version=queue.pauses_version())
    assert sorted(fetch_and_finish_all(queue)) == [key for key in KEYS if key.startswith("b")]


def test_new_message_heals_a_turn_that_reads_as_history(queue: RedisQueue) -> None:
    enqueue_all(queue)
    queue.client.zadd(queue.keys.turns("fetch", "small"), {"b": older_turn(1023)})
    first = queue.fetch("w", 8, QUEUES).messages
    assert {message.key[0] for message in first} == {"a", "c"}
    assert queue.enqueue("b-new", "fetch", b"message", scheduling=SchedulingInfo("b"))
    assert queue.enqueue("d-new", "fetch", b"message", scheduling=SchedulingInfo("d"))
    assert {message.key[0] for message in queue.fetch("w", 2, QUEUES).messages} == {"b", "d"}


def test_history_that_an_older_version_has_put_back_is_fetched_once(queue: RedisQueue) -> None:
    """An older version knows no third urgency: it takes the mark of the history for a source that expired long ago."""
    scheduling = SchedulingInfo("a", of_history=True)
    assert queue.enqueue("old", "fetch", b"message", scheduling=scheduling)
    waiting = queue.keys.waiting("fetch", "small")
    [member] = queue.client.zrange(waiting, 0, -1)
    queue.client.delete(waiting)
    queue.client.zadd(waiting, {member.replace(b"a\0002", b"a\0001", 1): 0})
    queue.client.zadd(queue.keys.turns("fetch", "small"), {"a": older_turn(0)})
    assert fetch_and_finish_all(queue) == ["old"]
    assert queue.audit() == 0
