"""Several deliveries that are ended in one round trip, on a real server."""

from __future__ import annotations

import json

import pytest
import redis

from actors.redis_queue.finished_jobs import FinishedJobList
from actors.redis_queue.keys import PREVIEW_QUEUE
from actors.redis_queue.queue import Ack, AckAction, EnqueueRequest, FetchedMessage, RedisQueue, connect
from actors.redis_queue.scheduling import SchedulingInfo
from pipeline.config.settings import JobRetention
from pipeline.models import Stage
from tests.support.valkey import ValkeyServer

COMPLETED = FinishedJobList("completed", JobRetention(count=3), 3600)
FAILED = FinishedJobList("failed", JobRetention(count=50), 3600)
DONE = AckAction("done", "fetch")


@pytest.fixture
def belt(valkey: ValkeyServer) -> RedisQueue:
    return RedisQueue(connect(valkey.url, timeout_s=5), queues=[stage.value for stage in Stage])


def held(belt: RedisQueue, keys: str) -> dict[str, FetchedMessage]:
    """Puts messages on the belt and into the hands of `w`; what was handed over, by key."""
    for number, key in enumerate(keys):
        assert belt.enqueue(key, "fetch", b"1", scheduling=SchedulingInfo("shop" if number % 2 else ""))
    return {item.key: item for item in belt.fetch("w", len(keys), ["fetch"])[1]}


def settlements(items: dict[str, FetchedMessage], step: AckAction = DONE, **more: object) -> list[Ack]:
    return [Ack(item.key, item.delivery_id, step, **more) for item in items.values()]  # type: ignore[arg-type]


def calls(belt: RedisQueue) -> int:
    """How many scripts the server was asked to run since its figures were reset."""
    stats: dict[str, dict[str, int]] = belt.client.info("commandstats")  # type: ignore[assignment]
    return stats.get("cmdstat_evalsha", {"calls": 0})["calls"]


def test_each_of_several_goes_its_own_way(belt: RedisQueue) -> None:
    item = held(belt, "abcde")
    steps = {
        "a": AckAction("next", "detect", b"2"),
        "b": AckAction("later", "fetch", b"2", 60_000),
        "c": AckAction("back", "fetch"),
        "d": DONE,
        "e": AckAction("dead", "notify", b"2"),
    }
    assert belt.ack_many("w", [Ack(key, item[key].delivery_id, step) for key, step in steps.items()]) == [True] * 5
    counts = belt.stats.counts()
    assert (counts["detect"]["ready"], counts["fetch"]["delayed"], counts["fetch"]["ready"]) == (1, 1, 1)
    assert counts["notify"]["dead"] == 1
    assert belt.find_missing(list("abcde")) == ["d", "e"]
    assert belt.held_messages("w") == []
    assert belt.stats.sessions() == {"": {"ready": 2, "running": 0}}
    assert belt.audit() == 0


def test_what_is_not_held_any_more_spoils_nothing_for_the_others(belt: RedisQueue) -> None:
    item = held(belt, "abc")
    assert belt.ack("w", "b", item["b"].delivery_id, AckAction("next", "detect", b"2"))
    assert belt.ack_many("w", settlements(item)) == [True, False, True]
    assert belt.find_missing(list("abc")) == ["a", "c"]


def test_a_batch_whose_answer_was_lost_may_be_sent_again(belt: RedisQueue) -> None:
    item = held(belt, "abc")
    endings = settlements(item, AckAction("next", "detect", b"2"))
    assert belt.ack_many("w", endings[:2]) == [True, True]
    assert belt.ack_many("w", endings) == [False, False, True]
    assert belt.ack_many("w", endings) == [False, False, False]
    assert belt.stats.counts()["detect"]["ready"] == 3


def test_a_delivery_that_stands_twice_among_them_is_ended_once(belt: RedisQueue) -> None:
    item = held(belt, "a")
    endings = [*settlements(item, AckAction("next", "detect", b"2")), *settlements(item)]
    assert belt.ack_many("w", endings) == [True, False]
    assert belt.stats.counts()["detect"]["ready"] == 1
    assert belt.audit() == 0


def test_none_at_all_asks_nobody(belt: RedisQueue) -> None:
    belt.client.connection_pool.disconnect()
    belt.client.connection_pool.connection_kwargs["port"] = 1
    assert belt.ack_many("w", []) == []


def test_each_is_noted_on_its_own_shelf_within_its_caps(belt: RedisQueue) -> None:
    item = held(belt, "abcdefgh")
    endings = [
        Ack(key, item[key].delivery_id, DONE, (FAILED if key == "b" else COMPLETED, json.dumps(key)))
        for key in "abcdefg"
    ]
    belt.ack_many("w", [*endings, Ack("h", item["h"].delivery_id, DONE)])
    assert sorted(json.loads(entry) for entry in belt.finished_jobs("completed")) == ["e", "f", "g"]
    assert belt.finished_jobs("failed") == [b'"b"']
    assert belt.client.hlen(belt.keys.finished_entries("completed")) == 3
    assert belt.find_missing(["h"]) == ["h"]


def test_one_round_trip_ends_them_and_puts_what_they_offer(belt: RedisQueue) -> None:
    plain, offering = held(belt, "abc"), held(belt, "defg")
    offers = [
        EnqueueRequest(f"derive:{number}", PREVIEW_QUEUE, b"an errand", SchedulingInfo("shop")) for number in (1, 2, 2)
    ]
    belt.ack_many("w", settlements(plain))
    belt.preview_queue.enqueue("derive:0", PREVIEW_QUEUE, b"an errand")  # so the server knows the scripts
    belt.client.config_resetstat()
    assert all(
        belt.ack_many(
            "w",
            [
                one._replace(preview_job=offer)
                for one, offer in zip(settlements(offering), [*offers, None], strict=True)
            ],
        )
    )
    assert calls(belt) == 2
    assert belt.preview_queue.stats.counts()[PREVIEW_QUEUE]["ready"] == 3
    belt.client.config_resetstat()
    belt.ack_many("w", settlements(held(belt, "hi")))
    assert calls(belt) == 4, "two offers, a fetch, and one for both"


def test_a_server_that_has_forgotten_the_scripts_loses_none(belt: RedisQueue) -> None:
    item = held(belt, "abc")
    belt.client.script_flush()
    offer = EnqueueRequest("derive:ab", PREVIEW_QUEUE, b"an errand")
    assert belt.ack_many("w", settlements(item, preview_job=offer)) == [True] * 3
    assert belt.preview_queue.stats.counts()[PREVIEW_QUEUE]["ready"] == 1


def test_a_full_server_lets_all_of_them_go(belt: RedisQueue) -> None:
    """The first write of a batch gives memory back; after it, Redis interrupts no script for want of memory."""
    item = held(belt, "abc")
    belt.client.config_set("maxmemory", 1)
    with pytest.raises(redis.ResponseError, match="maxmemory"):
        belt.enqueue("d", "fetch", b"1")
    void = Ack("nobody's", 1, DONE)
    endings = [void, *settlements(item, AckAction("next", "detect", b"2", 0), finished_job=(COMPLETED, "{}"))]
    try:
        assert belt.ack_many("w", endings) == [False, True, True, True]
        assert belt.stats.counts()["detect"]["ready"] == 3
        assert belt.audit() == 0
    finally:
        belt.client.config_set("maxmemory", 0)


def test_a_batch_that_is_refused_leaves_everything_held(belt: RedisQueue) -> None:
    item = held(belt, "abc")
    belt.client.config_set("min-replicas-to-write", 1)
    try:
        with pytest.raises(redis.ResponseError, match="NOREPLICAS"):
            belt.ack_many("w", settlements(item))
    finally:
        belt.client.config_set("min-replicas-to-write", 0)
    assert belt.ack_many("w", settlements(item)) == [True] * 3
