"""A message that kills its worker fails after the third time; those that were beside it are done."""

from __future__ import annotations

import json

import pytest

from actors.redis_queue.queue import AckAction, RedisQueue, connect
from pipeline.models import Stage, Status
from tests.support.media_server import MediaServer
from tests.support.system import RunningSystem, photo
from tests.support.valkey import ValkeyServer
from tests.support.waiting import wait_until

QUEUES = [stage.value for stage in Stage]


@pytest.mark.slow
def test_poison_ends_and_what_was_beside_it_is_done(system: RunningSystem) -> None:
    with MediaServer({"a.jpg": photo()}, delay_s=0.05) as server:
        innocent = [system.submit(url=server.url("a.jpg")).id for _ in range(6)]
        guilty = system.submit(url=server.url("poison")).id
        innocent += [system.submit(url=server.url("a.jpg")).id for _ in range(6)]
        deaths = 0
        while deaths < 6 and not system.record(guilty).finished_at:
            with system.workers(module="tests.support.poisonous", threads=4) as workers:
                workers.process.wait(60) if deaths < 3 else system.wait_finished(guilty, within_s=60)
                deaths += workers.process.poll() is not None
            system.reap_dead_workers()
        with system.workers():
            records = system.wait_finished(*innocent, within_s=60)
            # A worker may have died between an ending and its finish on the belt: the next one clears up.
            wait_until(lambda: not system.queue.client.hlen(system.queue.keys.crashes), 30)
    assert deaths == 3
    assert {(record.status, record.error_code) for record in records} == {(Status.DONE, None)}
    ended = system.record(guilty)
    assert (ended.status, ended.error_code, ended.attempts) == (Status.FAILED, "poison", 3)
    assert ended.announced_at


@pytest.fixture
def belt(valkey: ValkeyServer) -> RedisQueue:
    return RedisQueue(connect(valkey.url, timeout_s=2), queues=QUEUES)


def test_only_what_a_suspect_had_begun_is_blamed_again(belt: RedisQueue) -> None:
    for key in ("a", "b"):
        belt.enqueue(key, "fetch", b"1")
    belt.fetch("w1", 2, QUEUES)
    belt.reap("w1", silence_ms=0, crash=True)
    _, handed = belt.fetch("w2", 2, QUEUES)
    begun = next(item for item in handed if item.key == "a")
    assert belt.mark_started("w2", "a", begun.delivery_id)
    assert not belt.mark_started("w2", "a", begun.delivery_id + 100)
    belt.reap("w2", silence_ms=0, crash=True)
    _, handed = belt.fetch("w3", 2, QUEUES)
    assert {item.key: item.crashes for item in handed} == {"a": 2, "b": 1}


def test_another_attempt_does_not_clear_the_name_and_the_next_stage_does(belt: RedisQueue) -> None:
    belt.enqueue("a", "fetch", json.dumps({}).encode())
    belt.fetch("w1", 1, QUEUES)
    belt.reap("w1", silence_ms=0, crash=True)
    _, [item] = belt.fetch("w2", 1, QUEUES)
    belt.ack("w2", "a", item.delivery_id, AckAction("later", "fetch", b"1", 0))
    _, [item] = belt.fetch("w2", 1, QUEUES)
    assert item.crashes == 1
    belt.ack("w2", "a", item.delivery_id, AckAction("next", "detect", b"1"))
    _, [item] = belt.fetch("w2", 1, QUEUES)
    assert item.crashes == 0
