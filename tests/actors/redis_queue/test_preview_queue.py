"""The preview queue: jobs that are enqueued together with an acknowledgement, and its separation from the stages."""

from __future__ import annotations

import pytest
import redis

from actors.redis_queue.keys import PREVIEW_QUEUE
from actors.redis_queue.messages import AckAction, EnqueueRequest
from actors.redis_queue.queue import RedisQueue
from actors.redis_queue.scheduling import SchedulingInfo
from pipeline.models import Stage
from pipeline.redis_client import connect
from tests.support.valkey import ValkeyServer

JOB = EnqueueRequest("derive:ab", PREVIEW_QUEUE, b"a preview job", SchedulingInfo("shop"))
DONE = AckAction("done", "fetch")


@pytest.fixture
def queue(valkey: ValkeyServer) -> RedisQueue:
    return RedisQueue(connect(valkey.url, timeout_s=5), queues=[stage.value for stage in Stage])


def held(queue: RedisQueue, key: str = "a") -> int:
    """Enqueues a message and fetches it as `worker`; returns its delivery id."""
    assert queue.enqueue(key, "fetch", b"a message", scheduling=SchedulingInfo("shop"))
    (message,) = queue.fetch("worker", 1, ["fetch"])[1]
    return message.delivery_id


def ready_jobs(queue: RedisQueue) -> int:
    return queue.preview_queue.stats.counts()[PREVIEW_QUEUE]["ready"]


def test_ack_enqueues_the_preview_job(queue: RedisQueue) -> None:
    assert queue.ack("worker", "a", held(queue), DONE, preview_job=JOB)
    assert ready_jobs(queue) == 1
    assert queue.find_missing(["a"]) == ["a"]
    _, (job,), _ = queue.preview_queue.fetch("worker", 5, [PREVIEW_QUEUE])
    assert (job.key, job.data, job.queue) == ("derive:ab", b"a preview job", PREVIEW_QUEUE)


def test_preview_job_is_enqueued_once_per_content(queue: RedisQueue) -> None:
    for key in "ab":
        assert queue.ack("worker", key, held(queue, key), DONE, preview_job=JOB)
    assert ready_jobs(queue) == 1
    _, (job,), _ = queue.preview_queue.fetch("worker", 5, [PREVIEW_QUEUE])
    assert queue.ack("worker", "c", held(queue, "c"), DONE, preview_job=JOB)
    assert ready_jobs(queue) == 0
    queue.preview_queue.ack("worker", job.key, job.delivery_id, AckAction("done", PREVIEW_QUEUE))
    assert queue.ack("worker", "d", held(queue, "d"), DONE, preview_job=JOB)
    assert ready_jobs(queue) == 1


def test_ack_with_a_preview_job_reloads_forgotten_scripts(queue: RedisQueue) -> None:
    delivery_id = held(queue)
    queue.client.script_flush()
    assert queue.ack("worker", "a", delivery_id, DONE, preview_job=JOB)
    assert ready_jobs(queue) == 1
    assert queue.find_missing(["a"]) == ["a"]
    assert not queue.ack("worker", "a", delivery_id, DONE, preview_job=JOB)


def test_refused_preview_job_does_not_affect_the_ack(queue: RedisQueue) -> None:
    queue.client.set(queue.preview_queue.keys.messages, "of another kind")
    assert queue.ack("worker", "a", held(queue), DONE, preview_job=JOB)
    assert queue.find_missing(["a"]) == ["a"]


def test_refused_ack_raises(queue: RedisQueue) -> None:
    delivery_id = held(queue)
    queue.client.set(queue.keys.in_flight, "of another kind")
    with pytest.raises(redis.ResponseError):
        queue.ack("worker", "a", delivery_id, DONE, preview_job=JOB)


def test_stage_scripts_ignore_the_preview_queue(queue: RedisQueue) -> None:
    delivery_id = held(queue)
    for number in range(5):
        queue.preview_queue.enqueue(
            f"derive:{number}", PREVIEW_QUEUE, b"a preview job", scheduling=SchedulingInfo("shop")
        )
    queue.preview_queue.fetch("worker", 2, [PREVIEW_QUEUE])
    assert queue.audit() == 0
    assert queue.preview_queue.audit() == 0
    assert queue.stats.sessions() == {"shop": {"ready": 0, "running": 1}}
    assert set(queue.stats.counts()) == {stage.value for stage in Stage}
    assert queue.reap("worker", silence_ms=0, crash=True) == 1
    assert queue.preview_queue.stats.counts()[PREVIEW_QUEUE]["running"] == 2
    assert queue.preview_queue.reap("worker", silence_ms=0, crash=True) == 2
    assert not queue.ack("worker", "a", delivery_id, DONE)
    assert ready_jobs(queue) == 5


def test_both_queues_share_one_hash_slot(queue: RedisQueue) -> None:
    names = [*queue.keys.common, *queue.preview_queue.keys.common]
    assert len(set(names)) == len(names)
    assert {name.partition("}")[0] for name in names} == {"{esteira"}
