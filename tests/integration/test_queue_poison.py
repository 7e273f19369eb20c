"""Poison messages: a message that crashes its worker fails after the third crash, its neighbours are processed."""

from __future__ import annotations

import json

import pytest

from actors.redis_queue.messages import AckAction
from actors.redis_queue.queue import RedisQueue
from pipeline.models import Stage, Status
from pipeline.redis_client import connect
from tests.support.media_server import MediaServer
from tests.support.system import RunningSystem, photo
from tests.support.valkey import ValkeyServer
from tests.support.waiting import wait_until

QUEUES = [stage.value for stage in Stage]


@pytest.mark.slow
def test_poison_message_fails_after_three_crashes_and_its_neighbours_are_done(system: RunningSystem) -> None:
    with MediaServer({"a.jpg": photo()}, delay_s=0.05) as server:
        neighbours = [system.submit(url=server.url("a.jpg")).id for _ in range(6)]
        poison = system.submit(url=server.url("poison")).id
        neighbours += [system.submit(url=server.url("a.jpg")).id for _ in range(6)]
        crashes = 0
        while crashes < 6 and not system.record(poison).finished_at:
            with system.workers(module="tests.support.poisonous", threads=4) as workers:
                workers.process.wait(60) if crashes < 3 else system.wait_finished(poison, within_s=60)
                crashes += workers.process.poll() is not None
            system.reap_dead_workers()
        with system.workers():
            records = system.wait_finished(*neighbours, within_s=60)
            # A worker may have died between the end of an attachment and its acknowledgement, which is made up for.
            wait_until(lambda: not system.queue.client.hlen(system.queue.keys.crashes), 30)
    assert crashes == 3
    assert {(record.status, record.error_code) for record in records} == {(Status.DONE, None)}
    record = system.record(poison)
    assert (record.status, record.error_code, record.attempts) == (Status.FAILED, "poison", 3)
    assert record.announced_at


@pytest.fixture
def queue(valkey: ValkeyServer) -> RedisQueue:
    return RedisQueue(connect(valkey.url, timeout_s=2), queues=QUEUES)


def test_second_crash_counts_only_for_the_suspect_that_had_started(queue: RedisQueue) -> None:
    for key in ("a", "b"):
        queue.enqueue(key, "fetch", b"1")
    queue.fetch("w1", 2, QUEUES)
    queue.reap("w1", silence_ms=0, crash=True)
    _, messages, _ = queue.fetch("w2", 2, QUEUES)
    started = next(message for message in messages if message.key == "a")
    assert queue.mark_started("w2", "a", started.delivery_id)
    assert not queue.mark_started("w2", "a", started.delivery_id + 100)
    queue.reap("w2", silence_ms=0, crash=True)
    _, messages, _ = queue.fetch("w3", 2, QUEUES)
    assert {message.key: message.crashes for message in messages} == {"a": 2, "b": 1}


def test_retry_keeps_the_crash_count_and_the_next_stage_resets_it(queue: RedisQueue) -> None:
    queue.enqueue("a", "fetch", json.dumps({}).encode())
    queue.fetch("w1", 1, QUEUES)
    queue.reap("w1", silence_ms=0, crash=True)
    _, [message], _ = queue.fetch("w2", 1, QUEUES)
    queue.ack("w2", "a", message.delivery_id, AckAction("later", "fetch", b"1", 0))
    _, [message], _ = queue.fetch("w2", 1, QUEUES)
    assert message.crashes == 1
    queue.ack("w2", "a", message.delivery_id, AckAction("next", "detect", b"1"))
    _, [message], _ = queue.fetch("w2", 1, QUEUES)
    assert message.crashes == 0
