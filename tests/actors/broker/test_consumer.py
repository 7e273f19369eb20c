"""The consumer: malformed messages, suspects and acknowledgements, also while Redis is away."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import closing
from typing import Any

import dramatiq
import pytest
import redis
from dramatiq.middleware import SkipMessage

from actors.broker import acknowledger as acknowledger_module
from actors.broker.broker import EsteiraBroker
from actors.delivery import DeadLetter, Delivery, Finished, PreviewJob, Retry, stage_message
from actors.middleware.poison import MAX_CRASHES, Quarantine
from actors.middleware.routing import StageRouter
from actors.redis_queue.finished_jobs import FinishedJobList, FinishedJobs
from actors.redis_queue.scheduling import SizeClasses
from pipeline.config.job_retention import JobRetention
from pipeline.models import Stage
from pipeline.redis_client import connect
from tests.support.valkey import ValkeyServer

JOBS = FinishedJobList("completed", JobRetention(), 60)
MEDIA_ID = "a" * 32


@pytest.fixture
def broker(valkey: ValkeyServer) -> Iterator[EsteiraBroker]:
    broker = EsteiraBroker(
        connect_worker=lambda: connect(valkey.url, timeout_s=2),
        connect_enqueue=lambda: connect(valkey.url, timeout_s=2),
        finished_jobs=FinishedJobs(JOBS, JOBS),
        size_classes=SizeClasses(),
        router=StageRouter(),
        middleware=[],
    )
    broker.declare_queue("fetch")
    with closing(broker):
        yield broker


def redis_away(*_: Any, **__: Any) -> bool:
    raise redis.ConnectionError("refused")


def fetched(broker: EsteiraBroker) -> Delivery:
    """A delivery that this worker holds."""
    broker.enqueue(stage_message(MEDIA_ID, Stage.FETCH))
    delivery = next(broker.consume("fetch", timeout=20))
    assert isinstance(delivery, Delivery)
    return delivery


def test_malformed_message_becomes_a_dead_letter_after_an_outage(
    broker: EsteiraBroker, monkeypatch: pytest.MonkeyPatch
) -> None:
    broker.enqueue_client.enqueue("garbage", "fetch", b"not json")
    consumer = broker.consume("fetch", timeout=20)
    with monkeypatch.context() as outage:
        outage.setattr(broker.redis_queue, "ack", redis_away)
        assert next(consumer) is None
    assert broker.redis_queue.stats.counts()["fetch"]["running"] == 1
    assert next(consumer) is None
    assert broker.redis_queue.stats.counts()["fetch"] == {"ready": 0, "delayed": 0, "running": 0, "dead": 1}
    assert broker.prefetcher.free()[0] == broker.prefetcher.limits.room


def test_suspect_does_not_run_while_redis_cannot_note_its_start(
    broker: EsteiraBroker, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(broker.redis_queue, "mark_started", redis_away)
    message = stage_message(MEDIA_ID, Stage.FETCH)
    delivery = Delivery(message, key=MEDIA_ID, delivery_id=1, queue="fetch", crashes=MAX_CRASHES)
    with pytest.raises(SkipMessage):
        Quarantine().before_process_message(broker, delivery)
    assert isinstance(delivery.verdict, Retry)
    assert delivery.verdict.attempt == 1


def test_a_suspected_preview_does_not_hold_up_a_suspected_attachment(broker: EsteiraBroker) -> None:
    quarantine = Quarantine()
    preview = PreviewJob(preview_message(), key="p", delivery_id=1, queue="derive", crashes=1)
    with pytest.raises(SkipMessage):  # Redis does not know this delivery
        quarantine.before_process_message(broker, preview)
    assert preview.verdict == Finished()
    delivery = Delivery(stage_message(MEDIA_ID, Stage.FETCH), key="d", delivery_id=1, queue="fetch", crashes=1)
    with pytest.raises(SkipMessage):
        quarantine.before_process_message(broker, delivery)
    assert delivery.verdict == Finished()


def test_ack_carries_out_the_verdict_when_redis_is_back(broker: EsteiraBroker, monkeypatch: pytest.MonkeyPatch) -> None:
    delivery = fetched(broker)
    delivery.verdict = Finished()
    released: list[str] = []
    delivery.after_ack.append(lambda: released.append(delivery.key))
    ack_many, failures = broker.redis_queue.ack_many, [redis.ConnectionError("refused")] * 2

    def fail_twice(*args: Any) -> list[bool]:
        if failures:
            raise failures.pop()
        return ack_many(*args)

    monkeypatch.setattr(broker.redis_queue, "ack_many", fail_twice)
    broker.consume("fetch").ack(delivery)
    assert released == [MEDIA_ID]
    assert broker.redis_queue.stats.counts()["fetch"] == {"ready": 0, "delayed": 0, "running": 0, "dead": 0}
    assert broker.prefetcher.free()[0] == broker.prefetcher.limits.room


def test_ack_gives_up_at_shutdown_while_redis_is_away(broker: EsteiraBroker, monkeypatch: pytest.MonkeyPatch) -> None:
    delivery = fetched(broker)
    monkeypatch.setattr(acknowledger_module, "SHUTDOWN_GRACE_S", 0.1)
    monkeypatch.setattr(broker.redis_queue, "ack_many", redis_away)
    broker.draining.set()
    started = time.monotonic()
    broker.consume("fetch").ack(delivery)
    assert time.monotonic() - started < 5
    monkeypatch.undo()
    assert broker.redis_queue.stats.counts()["fetch"]["running"] == 1


def test_delivery_without_a_verdict_is_retried_later(broker: EsteiraBroker) -> None:
    broker.consume("fetch").ack(fetched(broker))
    assert broker.redis_queue.stats.counts()["fetch"] == {"ready": 0, "delayed": 1, "running": 0, "dead": 0}


def test_consumer_leaves_the_acknowledgement_of_a_batch_to_the_batch(broker: EsteiraBroker) -> None:
    delivery = fetched(broker)
    delivery.in_batch = True
    broker.consume("fetch").ack(delivery)
    assert broker.redis_queue.stats.counts()["fetch"]["running"] == 1


def test_message_of_an_unknown_actor_becomes_a_dead_letter(broker: EsteiraBroker) -> None:
    broker.consume("fetch").nack(fetched(broker))
    assert broker.redis_queue.stats.counts()["fetch"] == {"ready": 0, "delayed": 0, "running": 0, "dead": 1}


def test_requeued_message_waits_again(broker: EsteiraBroker) -> None:
    broker.consume("fetch").requeue([fetched(broker)])
    assert broker.redis_queue.stats.counts()["fetch"] == {"ready": 1, "delayed": 0, "running": 0, "dead": 0}


def preview_message(**kwargs: object) -> dramatiq.Message[Any]:
    return dramatiq.Message("derive", "derive", (), {"sha256": "ab" * 32, "type": "jpeg", **kwargs}, {"key": "p"})


def preview_job(attempt: int) -> PreviewJob:
    return PreviewJob(preview_message(attempt=attempt), key="p", delivery_id=1, queue="derive", crashes=0)


def test_preview_job_that_a_bug_leaves_undecided_is_retried_twice() -> None:
    verdicts = [preview_job(attempt).default_verdict() for attempt in (1, 2, 3)]
    assert verdicts == [Retry(5000, 2), Retry(5000, 3), DeadLetter()]
    assert preview_job(2).retry_message(3).kwargs["attempt"] == 3
