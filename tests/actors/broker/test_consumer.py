"""The consumer, and suspects, while Redis goes away between two words."""

from __future__ import annotations

from typing import Any

import pytest
import redis
from dramatiq.middleware import SkipMessage

from actors.broker.broker import EsteiraBroker
from actors.delivery import Delivery, Retry, stage_message
from actors.middleware.poison import MAX_CRASHES, Quarantine
from actors.middleware.retries import Retries, RetryPolicy
from actors.middleware.routing import StageRouter
from actors.redis_queue.finished_jobs import FinishedJobList, FinishedJobs
from actors.redis_queue.queue import connect
from actors.redis_queue.scheduling import SizeClasses
from pipeline.config.settings import JobRetention
from pipeline.models import Stage
from tests.support.valkey import ValkeyServer

SHELF = FinishedJobList("completed", JobRetention(), 60)


@pytest.fixture
def broker(valkey: ValkeyServer) -> EsteiraBroker:
    made = EsteiraBroker(
        connect_worker=lambda: connect(valkey.url, timeout_s=2),
        connect_enqueue=lambda: connect(valkey.url, timeout_s=2),
        finished_jobs=FinishedJobs(SHELF, SHELF),
        size_classes=SizeClasses(),
        middleware=[StageRouter(), Retries(RetryPolicy())],
    )
    made.declare_queue("fetch")
    return made


def away(*_: Any, **__: Any) -> bool:
    raise redis.ConnectionError("refused")


def test_garbage_is_buried_though_redis_was_away_when_it_was_found(
    broker: EsteiraBroker, monkeypatch: pytest.MonkeyPatch
) -> None:
    broker.enqueue_client.enqueue("garbage", "fetch", b"not json")
    consumer = broker.consume("fetch", timeout=20)
    with monkeypatch.context() as outage:
        outage.setattr(broker.redis_queue, "ack", away)
        assert next(consumer) is None
    assert broker.redis_queue.stats.counts()["fetch"]["running"] == 1
    assert next(consumer) is None
    assert broker.redis_queue.stats.counts()["fetch"] == {"ready": 0, "delayed": 0, "running": 0, "dead": 1}
    assert broker.prefetcher.free()[0] == broker.prefetcher.room


def test_a_suspect_does_not_run_while_redis_cannot_be_told(
    broker: EsteiraBroker, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(broker.redis_queue, "mark_started", away)
    message = stage_message("a" * 32, Stage.FETCH)
    delivery = Delivery(message, key="a" * 32, delivery_id=1, queue="fetch", crashes=MAX_CRASHES)
    with pytest.raises(SkipMessage):
        Quarantine().before_process_message(broker, delivery)
    assert isinstance(delivery.verdict, Retry)
    assert delivery.verdict.attempt == 1
