"""Acknowledgement of several deliveries in one round trip, on a real server."""

from __future__ import annotations

import json

import pytest
import redis

from actors.redis_queue.finished_jobs import FinishedJobList
from actors.redis_queue.keys import PREVIEW_QUEUE
from actors.redis_queue.messages import Ack, AckAction, EnqueueRequest, FetchedMessage
from actors.redis_queue.queue import RedisQueue
from actors.redis_queue.scheduling import SchedulingInfo
from pipeline.config.job_retention import JobRetention
from pipeline.models import Stage
from pipeline.redis_client import connect
from tests.support.finished_jobs import finished_jobs
from tests.support.valkey import ValkeyServer

COMPLETED = FinishedJobList("completed", JobRetention(count=3), 3600)
FAILED = FinishedJobList("failed", JobRetention(count=50), 3600)
DONE = AckAction("done", "fetch")


@pytest.fixture
def queue(valkey: ValkeyServer) -> RedisQueue:
    return RedisQueue(connect(valkey.url, timeout_s=5), queues=[stage.value for stage in Stage])


def held(queue: RedisQueue, keys: str) -> dict[str, FetchedMessage]:
    """Enqueues messages and fetches them as worker `w`; returns them by key."""
    for number, key in enumerate(keys):
        assert queue.enqueue(key, "fetch", b"1", scheduling=SchedulingInfo("shop" if number % 2 else ""))
    return {item.key: item for item in queue.fetch("w", len(keys), ["fetch"])[1]}


def acks(items: dict[str, FetchedMessage], action: AckAction = DONE, **more: object) -> list[Ack]:
    return [Ack(item.key, item.delivery_id, action, **more) for item in items.values()]  # type: ignore[arg-type]


def calls(queue: RedisQueue) -> int:
    """How many scripts the server has run since its statistics were reset."""
    stats: dict[str, dict[str, int]] = queue.client.info("commandstats")  # type: ignore[assignment]
    return stats.get("cmdstat_evalsha", {"calls": 0})["calls"]


def test_ack_many_carries_out_each_verdict(queue: RedisQueue) -> None:
    item = held(queue, "abcde")
    actions = {
        "a": AckAction("next", "detect", b"2"),
        "b": AckAction("later", "fetch", b"2", 60_000),
        "c": AckAction("back", "fetch"),
        "d": DONE,
        "e": AckAction("dead", "notify", b"2"),
    }
    assert (
        queue.ack_many("w", [Ack(key, item[key].delivery_id, action) for key, action in actions.items()]) == [True] * 5
    )
    counts = queue.stats.counts()
    assert (counts["detect"]["ready"], counts["fetch"]["delayed"], counts["fetch"]["ready"]) == (1, 1, 1)
    assert counts["notify"]["dead"] == 1
    assert queue.find_missing(list("abcde")) == ["d", "e"]
    assert queue.held_messages("w") == []
    assert queue.stats.sessions() == {"": {"ready": 2, "running": 0}}
    assert queue.audit() == 0


def test_ack_many_skips_deliveries_that_are_not_held(queue: RedisQueue) -> None:
    item = held(queue, "abc")
    assert queue.ack("w", "b", item["b"].delivery_id, AckAction("next", "detect", b"2"))
    assert queue.ack_many("w", acks(item)) == [True, False, True]
    assert queue.find_missing(list("abc")) == ["a", "c"]


def test_ack_many_may_be_repeated(queue: RedisQueue) -> None:
    item = held(queue, "abc")
    batch = acks(item, AckAction("next", "detect", b"2"))
    assert queue.ack_many("w", batch[:2]) == [True, True]
    assert queue.ack_many("w", batch) == [False, False, True]
    assert queue.ack_many("w", batch) == [False, False, False]
    assert queue.stats.counts()["detect"]["ready"] == 3


def test_ack_many_acknowledges_a_repeated_delivery_once(queue: RedisQueue) -> None:
    item = held(queue, "a")
    batch = [*acks(item, AckAction("next", "detect", b"2")), *acks(item)]
    assert queue.ack_many("w", batch) == [True, False]
    assert queue.stats.counts()["detect"]["ready"] == 1
    assert queue.audit() == 0


def test_ack_many_of_nothing_makes_no_round_trip(queue: RedisQueue) -> None:
    queue.client.connection_pool.disconnect()
    queue.client.connection_pool.connection_kwargs["port"] = 1
    assert queue.ack_many("w", []) == []


def test_ack_many_adds_entries_to_the_lists_within_their_lengths(queue: RedisQueue) -> None:
    item = held(queue, "abcdefgh")
    batch = [
        Ack(key, item[key].delivery_id, DONE, (FAILED if key == "b" else COMPLETED, json.dumps(key)))
        for key in "abcdefg"
    ]
    queue.ack_many("w", [*batch, Ack("h", item["h"].delivery_id, DONE)])
    assert sorted(json.loads(entry) for entry in finished_jobs(queue, "completed")) == ["e", "f", "g"]
    assert finished_jobs(queue, "failed") == [b'"b"']
    assert queue.client.hlen(queue.keys.finished_entries("completed")) == 3
    assert queue.find_missing(["h"]) == ["h"]


def test_ack_many_enqueues_preview_jobs_in_the_same_round_trip(queue: RedisQueue) -> None:
    plain, with_previews = held(queue, "abc"), held(queue, "defg")
    jobs = [
        EnqueueRequest(f"derive:{number}", PREVIEW_QUEUE, b"a preview job", SchedulingInfo("shop"))
        for number in (1, 2, 2)
    ]
    queue.ack_many("w", acks(plain))
    queue.preview_queue.enqueue("derive:0", PREVIEW_QUEUE, b"a preview job")  # so the server knows the scripts
    queue.client.config_resetstat()
    assert all(
        queue.ack_many(
            "w",
            [ack._replace(preview_job=job) for ack, job in zip(acks(with_previews), [*jobs, None], strict=True)],
        )
    )
    assert calls(queue) == 2
    assert queue.preview_queue.stats.counts()[PREVIEW_QUEUE]["ready"] == 3
    queue.client.config_resetstat()
    queue.ack_many("w", acks(held(queue, "hi")))
    assert calls(queue) == 4, "two enqueues, a fetch, and one ack for both"


def test_ack_many_reloads_scripts_that_the_server_forgot(queue: RedisQueue) -> None:
    item = held(queue, "abc")
    queue.client.script_flush()
    job = EnqueueRequest("derive:ab", PREVIEW_QUEUE, b"a preview job")
    assert queue.ack_many("w", acks(item, preview_job=job)) == [True] * 3
    assert queue.preview_queue.stats.counts()[PREVIEW_QUEUE]["ready"] == 1


def test_ack_many_works_on_a_full_server(queue: RedisQueue) -> None:
    """The first write of the script frees memory; after it, Redis does not interrupt the script."""
    item = held(queue, "abc")
    queue.client.config_set("maxmemory", 1)
    with pytest.raises(redis.ResponseError, match="maxmemory"):
        queue.enqueue("d", "fetch", b"1")
    void = Ack("unknown", 1, DONE)
    batch = [void, *acks(item, AckAction("next", "detect", b"2", 0), finished_job=(COMPLETED, "{}"))]
    try:
        assert queue.ack_many("w", batch) == [False, True, True, True]
        assert queue.stats.counts()["detect"]["ready"] == 3
        assert queue.audit() == 0
    finally:
        queue.client.config_set("maxmemory", 0)


def test_refused_ack_many_leaves_all_messages_held(queue: RedisQueue) -> None:
    item = held(queue, "abc")
    queue.client.config_set("min-replicas-to-write", 1)
    try:
        with pytest.raises(redis.ResponseError, match="NOREPLICAS"):
            queue.ack_many("w", acks(item))
    finally:
        queue.client.config_set("min-replicas-to-write", 0)
    assert queue.ack_many("w", acks(item)) == [True] * 3
