"""The belt beside that of the stages: what is offered along with a verdict, and that neither knows of the other."""

from __future__ import annotations

import pytest
import redis

from actors.redis_queue.keys import PREVIEW_QUEUE
from actors.redis_queue.queue import AckAction, EnqueueRequest, RedisQueue, connect
from actors.redis_queue.scheduling import SchedulingInfo
from pipeline.models import Stage
from tests.support.valkey import ValkeyServer

OFFER = EnqueueRequest("derive:ab", PREVIEW_QUEUE, b"an errand", SchedulingInfo("shop"))
DONE = AckAction("done", "fetch")


@pytest.fixture
def belt(valkey: ValkeyServer) -> RedisQueue:
    return RedisQueue(connect(valkey.url, timeout_s=5), queues=[stage.value for stage in Stage])


def held(belt: RedisQueue, key: str = "a") -> int:
    """Puts a message on the belt and into the hands of `worker`; the delivery_id of that."""
    assert belt.enqueue(key, "fetch", b"a message", scheduling=SchedulingInfo("shop"))
    (handed,) = belt.fetch("worker", 1, ["fetch"])[1]
    return handed.delivery_id


def errands(belt: RedisQueue) -> int:
    return belt.preview_queue.stats.counts()[PREVIEW_QUEUE]["ready"]


def test_what_is_offered_along_with_a_verdict_waits_on_the_belt_beside(belt: RedisQueue) -> None:
    assert belt.ack("worker", "a", held(belt), DONE, preview_job=OFFER)
    assert errands(belt) == 1
    assert belt.find_missing(["a"]) == ["a"]
    _, (errand,) = belt.preview_queue.fetch("worker", 5, [PREVIEW_QUEUE])
    assert (errand.key, errand.data, errand.queue) == ("derive:ab", b"an errand", PREVIEW_QUEUE)


def test_the_same_is_offered_once_as_long_as_it_waits_or_is_held(belt: RedisQueue) -> None:
    for key in "ab":
        assert belt.ack("worker", key, held(belt, key), DONE, preview_job=OFFER)
    assert errands(belt) == 1
    _, (errand,) = belt.preview_queue.fetch("worker", 5, [PREVIEW_QUEUE])
    assert belt.ack("worker", "c", held(belt, "c"), DONE, preview_job=OFFER)
    assert errands(belt) == 0
    belt.preview_queue.ack("worker", errand.key, errand.delivery_id, AckAction("done", PREVIEW_QUEUE))
    assert belt.ack("worker", "d", held(belt, "d"), DONE, preview_job=OFFER)
    assert errands(belt) == 1


def test_a_server_that_has_forgotten_the_scripts_loses_neither(belt: RedisQueue) -> None:
    delivery_id = held(belt)
    belt.client.script_flush()
    assert belt.ack("worker", "a", delivery_id, DONE, preview_job=OFFER)
    assert errands(belt) == 1
    assert belt.find_missing(["a"]) == ["a"]
    assert not belt.ack("worker", "a", delivery_id, DONE, preview_job=OFFER)


def test_an_offer_that_is_refused_leaves_the_verdict_as_it_is(belt: RedisQueue) -> None:
    belt.client.set(belt.preview_queue.keys.messages, "of another kind")
    assert belt.ack("worker", "a", held(belt), DONE, preview_job=OFFER)
    assert belt.find_missing(["a"]) == ["a"]


def test_a_verdict_that_is_refused_is_told(belt: RedisQueue) -> None:
    delivery_id = held(belt)
    belt.client.set(belt.keys.in_flight, "of another kind")
    with pytest.raises(redis.ResponseError):
        belt.ack("worker", "a", delivery_id, DONE, preview_job=OFFER)


def test_the_scripts_of_the_stages_see_nothing_of_errands(belt: RedisQueue) -> None:
    """Those of a version before this one neither: they are the same."""
    delivery_id = held(belt)
    for number in range(5):
        belt.preview_queue.enqueue(f"derive:{number}", PREVIEW_QUEUE, b"an errand", scheduling=SchedulingInfo("shop"))
    belt.preview_queue.fetch("worker", 2, [PREVIEW_QUEUE])
    assert belt.audit() == 0
    assert belt.preview_queue.audit() == 0
    assert belt.stats.sessions() == {"shop": {"ready": 0, "running": 1}}
    assert set(belt.stats.counts()) == {stage.value for stage in Stage}
    assert belt.reap("worker", silence_ms=0, crash=True) == 1
    assert belt.preview_queue.stats.counts()[PREVIEW_QUEUE]["running"] == 2
    assert belt.preview_queue.reap("worker", silence_ms=0, crash=True) == 2
    assert not belt.ack("worker", "a", delivery_id, DONE)
    assert errands(belt) == 5


def test_both_belts_share_one_slot_of_a_cluster(belt: RedisQueue) -> None:
    names = [*belt.keys.of_all, *belt.preview_queue.keys.of_all]
    assert len(set(names)) == len(names)
    assert {name.partition("}")[0] for name in names} == {"{esteira"}
