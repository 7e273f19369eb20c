"""An outage of Redis delays announcements once and shortly; buffered events are sent in order when it is back."""

from __future__ import annotations

import threading
import time
from collections.abc import Sequence
from typing import Any

import pytest
import redis
import structlog

from pipeline import outage
from pipeline.metrics import COUNTER_BUFFER, GAUGE_VALUES
from pipeline.models import Outcome
from pipeline.notifiers import redis_publisher
from pipeline.notifiers.redis_publisher import BufferedRedisPublisher
from tests.support.events import outcome
from tests.support.valkey import ValkeyServer
from tests.support.waiting import wait_until


class FakeServer:
    """Receives outcomes, or raises while it is `away`."""

    def __init__(self) -> None:
        self.away = False
        self.calls = 0
        self.received: list[str] = []

    def __call__(self, _: object, outcomes: Sequence[Outcome]) -> None:
        self.calls += 1
        if self.away:
            raise redis.ConnectionError("away")
        self.received += [one.event_id for one in outcomes]


def publisher(server: FakeServer, *, max_waiting: int = 100) -> BufferedRedisPublisher:
    return BufferedRedisPublisher("redis://127.0.0.1:1/0", server, channel="test", max_waiting=max_waiting)


def ids(outcomes: Sequence[Outcome]) -> list[str]:
    return [one.event_id for one in outcomes]


def waiting_events() -> float:
    return GAUGE_VALUES.changed().get("esteira_events_waiting|test", 0)


@pytest.fixture(autouse=True)
def _short_retries(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(redis_publisher, "RETRY_S", 0.05)
    monkeypatch.setattr(outage, "log", structlog.get_logger())


def test_buffered_events_are_sent_in_order_before_new_ones() -> None:
    server = FakeServer()
    publish, outcomes = publisher(server), [outcome() for _ in range(30)]
    publish(outcomes[0])
    server.away = True
    for one in outcomes[1:20]:
        publish(one)
    assert server.calls <= 1 + 1 + 5  # the first, the one that fails, and retries in the meantime
    server.away = False
    for one in outcomes[20:]:
        publish(one)
        time.sleep(0.01)
    wait_until(lambda: server.received == ids(outcomes), 10)


def test_batches_keep_their_order_over_an_outage(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(redis_publisher, "BATCH_SIZE", 4)
    server = FakeServer()
    publish, outcomes = publisher(server), [outcome() for _ in range(20)]
    COUNTER_BUFFER.drain()
    publish.publish_all(outcomes[:5])
    assert (server.calls, len(server.received)) == (1, 5)
    server.away = True
    publish.publish_all(outcomes[5:10])
    publish(outcomes[10])
    publish.publish_all(outcomes[11:])
    calls = server.calls
    server.away = False
    wait_until(lambda: server.received == ids(outcomes), 10)
    assert server.calls - calls <= 4 + 5  # fifteen events in batches of four, and earlier retries
    wait_until(lambda: waiting_events() == 0, 10)
    assert COUNTER_BUFFER.drain()["esteira_events_sent_total|test"] == 20


def test_newest_events_of_a_large_batch_are_kept() -> None:
    server = FakeServer()
    server.away = True
    publish, outcomes = publisher(server, max_waiting=10), [outcome() for _ in range(25)]
    COUNTER_BUFFER.drain()
    publish.publish_all(outcomes[:12])
    publish.publish_all(outcomes[12:])
    assert COUNTER_BUFFER.drain()["esteira_events_lost_total|test"] == 15
    server.away = False
    wait_until(lambda: server.received == ids(outcomes[15:]), 10)


def test_outage_is_logged_once_at_its_start_and_end() -> None:
    server = FakeServer()
    server.away = True
    publish = publisher(server)
    with structlog.testing.capture_logs() as lines:
        for _ in range(20):
            publish(outcome())
        time.sleep(0.2)
        server.away = False
        wait_until(lambda: len(server.received) == 20, 10)
        wait_until(lambda: len(lines) == 2, 10)
    assert [(line["event"], line["log_level"]) for line in lines] == [
        ("server away", "error"), ("server back", "info"),
    ]  # fmt: skip
    assert {line["server"] for line in lines} == {"redis (test)"}


def test_newest_events_are_kept_and_lost_ones_counted() -> None:
    server = FakeServer()
    server.away = True
    publish, outcomes = publisher(server, max_waiting=10), [outcome() for _ in range(25)]
    COUNTER_BUFFER.drain()
    for one in outcomes:
        publish(one)
    assert waiting_events() == 10
    server.away = False
    wait_until(lambda: len(server.received) == 10, 10)
    assert server.received == ids(outcomes[15:])
    assert COUNTER_BUFFER.drain()["esteira_events_lost_total|test"] == 15
    wait_until(lambda: waiting_events() == 0, 10)


def test_threads_lose_no_event_over_outages() -> None:
    server = FakeServer()
    publish, outcomes = publisher(server, max_waiting=10_000), [[outcome() for _ in range(200)] for _ in range(4)]

    def announce(own: list[Outcome]) -> None:
        for one in own:
            publish(one)
            time.sleep(0.001)

    threads = [threading.Thread(target=announce, args=(own,)) for own in outcomes]
    for thread in threads:
        thread.start()
    for _ in range(4):
        server.away = not server.away
        time.sleep(0.06)
    for thread in threads:
        thread.join()
    wait_until(lambda: len(server.received) == 800, 20)
    assert sorted(server.received) == sorted(one.event_id for own in outcomes for one in own)


def test_hanging_redis_delays_only_the_first_event(own_valkey: ValkeyServer) -> None:
    received: list[Any] = []
    publish = BufferedRedisPublisher(
        own_valkey.url,
        lambda client, outcomes: received.extend((client.ping(), one) for one in outcomes),
        channel="test",
        max_waiting=10,
    )
    publish(outcome())
    own_valkey.pause()
    began = time.monotonic()
    for _ in range(5):
        publish(outcome())
    assert time.monotonic() - began < 2
    own_valkey.resume()
    wait_until(lambda: len(received) == 6, 20)
