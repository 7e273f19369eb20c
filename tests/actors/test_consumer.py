"""The consumer, and suspects, while Redis goes away between two words."""

from __future__ import annotations

from typing import Any

import pytest
import redis
from dramatiq.middleware import SkipMessage

from actors.belt import connect
from actors.broker import EsteiraBroker
from actors.chain import Chain
from actors.delivery import Again, Delivery, stage_message
from actors.ledger import Ledger, Shelf
from actors.places import Lanes
from actors.quarantine import MAX_CRASHES, Quarantine
from actors.retries import Retries, RetryPolicy
from pipeline.models import Stage
from pipeline.settings import Retention
from tests.support.valkey import ValkeyServer

SHELF = Shelf("completed", Retention(), 60)


@pytest.fixture
def broker(valkey: ValkeyServer) -> EsteiraBroker:
    made = EsteiraBroker(
        connect_worker=lambda: connect(valkey.url, timeout_s=2),
        connect_sender=lambda: connect(valkey.url, timeout_s=2),
        ledger=Ledger(SHELF, SHELF),
        lanes=Lanes(),
        middleware=[Chain(), Retries(RetryPolicy())],
    )
    made.declare_queue("fetch")
    return made


def away(*_: Any, **__: Any) -> bool:
    raise redis.ConnectionError("refused")


def test_garbage_is_buried_though_redis_was_away_when_it_was_found(
    broker: EsteiraBroker, monkeypatch: pytest.MonkeyPatch
) -> None:
    broker.sender.offer("garbage", "fetch", b"not json")
    consumer = broker.consume("fetch", timeout=20)
    with monkeypatch.context() as outage:
        outage.setattr(broker.belt, "finish", away)
        assert next(consumer) is None
    assert broker.belt.counts()["fetch"]["running"] == 1
    assert next(consumer) is None
    assert broker.belt.counts()["fetch"] == {"ready": 0, "delayed": 0, "running": 0, "dead": 1}
    assert broker.hands.free()[0] == broker.hands.room


def test_a_suspect_does_not_run_while_redis_cannot_be_told(
    broker: EsteiraBroker, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(broker.belt, "begin", away)
    message = stage_message("a" * 32, Stage.FETCH)
    delivery = Delivery(message, key="a" * 32, serial=1, queue="fetch", crashes=MAX_CRASHES)
    with pytest.raises(SkipMessage):
        Quarantine().before_process_message(broker, delivery)
    assert isinstance(delivery.verdict, Again)
    assert delivery.verdict.attempt == 1
