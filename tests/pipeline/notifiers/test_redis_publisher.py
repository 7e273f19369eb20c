"""Redis being away costs an announcement a moment at most, once; what waits goes in its order when it is back."""

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


class Server:
    """Takes outcomes, or raises while it is away."""

    def __init__(self) -> None:
        self.away = False
        self.asked = 0
        self.got: list[str] = []

    def __call__(self, _: object, told: Sequence[Outcome]) -> None:
        self.asked += 1
        if self.away:
            raise redis.ConnectionError("away")
        self.got += [one.event_id for one in told]


def post(server: Server, *, max_waiting: int = 100) -> BufferedRedisPublisher:
    return BufferedRedisPublisher("redis://127.0.0.1:1/0", server, channel="test", max_waiting=max_waiting)


@pytest.fixture(autouse=True)
def _quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(redis_publisher, "RETRY_S", 0.05)
    monkeypatch.setattr(outage, "log", structlog.get_logger())


def test_what_waits_goes_in_its_order_and_before_what_is_new() -> None:
    server = Server()
    tell, told = post(server), [outcome() for _ in range(30)]
    tell(told[0])
    server.away = True
    for one in told[1:20]:
        tell(one)
    assert server.asked <= 1 + 1 + 5  # the first, the one that fails, and what tries again meanwhile
    server.away = False
    for one in told[20:]:
        tell(one)
        time.sleep(0.01)
    wait_until(lambda: server.got == [one.event_id for one in told], 10)


def test_several_go_together_and_keep_their_order_over_an_outage(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(redis_publisher, "AT_ONCE", 4)
    server = Server()
    tell, told = post(server), [outcome() for _ in range(20)]
    COUNTER_BUFFER.drain()
    tell.publish_all(told[:5])
    assert (server.asked, len(server.got)) == (1, 5)
    server.away = True
    tell.publish_all(told[5:10])
    tell(told[10])
    tell.publish_all(told[11:])
    asked = server.asked
    server.away = False
    wait_until(lambda: server.got == [one.event_id for one in told], 10)
    assert server.asked - asked <= 4 + 5  # fifteen by fours, and what had tried before
    wait_until(lambda: GAUGE_VALUES.changed().get("esteira_events_waiting|test", 0) == 0, 10)
    assert COUNTER_BUFFER.drain()["esteira_events_sent_total|test"] == 20


def test_of_more_at_once_than_may_wait_the_newest_are_kept() -> None:
    server = Server()
    server.away = True
    tell, told = post(server, max_waiting=10), [outcome() for _ in range(25)]
    COUNTER_BUFFER.drain()
    tell.publish_all(told[:12])
    tell.publish_all(told[12:])
    assert COUNTER_BUFFER.drain()["esteira_events_lost_total|test"] == 15
    server.away = False
    wait_until(lambda: server.got == [one.event_id for one in told[15:]], 10)


def test_an_outage_is_said_once_and_so_is_its_end() -> None:
    server = Server()
    server.away = True
    tell = post(server)
    with structlog.testing.capture_logs() as lines:
        for _ in range(20):
            tell(outcome())
        time.sleep(0.2)
        server.away = False
        wait_until(lambda: len(server.got) == 20, 10)
        wait_until(lambda: len(lines) == 2, 10)
    assert [(line["event"], line["log_level"]) for line in lines] == [
        ("server away", "error"), ("server back", "info"),
    ]  # fmt: skip


def test_of_what_waits_the_newest_are_kept_and_the_lost_are_counted() -> None:
    server = Server()
    server.away = True
    tell, told = post(server, max_waiting=10), [outcome() for _ in range(25)]
    COUNTER_BUFFER.drain()
    for one in told:
        tell(one)
    assert GAUGE_VALUES.changed()["esteira_events_waiting|test"] == 10
    server.away = False
    wait_until(lambda: len(server.got) == 10, 10)
    assert server.got == [one.event_id for one in told[15:]]
    figures = COUNTER_BUFFER.drain()
    assert figures["esteira_events_lost_total|test"] == 15
    wait_until(lambda: GAUGE_VALUES.changed().get("esteira_events_waiting|test", 0) == 0, 10)


def test_many_threads_lose_nothing_over_an_outage() -> None:
    server = Server()
    tell, told = post(server, max_waiting=10_000), [[outcome() for _ in range(200)] for _ in range(4)]

    def announce(mine: list[Outcome]) -> None:
        for one in mine:
            tell(one)
            time.sleep(0.001)

    threads = [threading.Thread(target=announce, args=(mine,)) for mine in told]
    for thread in threads:
        thread.start()
    for _ in range(4):
        server.away = not server.away
        time.sleep(0.06)
    for thread in threads:
        thread.join()
    wait_until(lambda: len(server.got) == 800, 20)
    assert sorted(server.got) == sorted(one.event_id for mine in told for one in mine)


def test_a_redis_that_hangs_holds_nobody_for_longer_than_a_quarter_of_a_second(own_valkey: ValkeyServer) -> None:
    seen: list[Any] = []
    tell = BufferedRedisPublisher(
        own_valkey.url,
        lambda client, told: seen.extend((client.ping(), one) for one in told),
        channel="test",
        max_waiting=10,
    )
    tell(outcome())
    own_valkey.pause()
    began = time.monotonic()
    for _ in range(5):
        tell(outcome())
    assert time.monotonic() - began < 2
    own_valkey.resume()
    wait_until(lambda: len(seen) == 6, 20)
