"""Metrics of several processes add up in Redis."""

from __future__ import annotations

import os
from collections.abc import Iterator

import pytest

from actors.observability import metrics_store
from actors.observability.metrics_store import flush, read_counters, read_gauges
from actors.redis_queue.queue import RedisQueue
from pipeline import metrics
from pipeline.metrics import COUNTER_BUFFER, Counter, Gauge, GaugeValues
from pipeline.models import Stage
from pipeline.redis_client import connect
from tests.support.valkey import ValkeyServer

SEEN = Counter("seen_total", "Seen.", ("stage",))


@pytest.fixture
def queue(valkey: ValkeyServer) -> RedisQueue:
    return RedisQueue(connect(valkey.url, timeout_s=2), queues=[stage.value for stage in Stage])


@pytest.fixture(autouse=True)
def _empty_counter_buffer() -> Iterator[None]:
    COUNTER_BUFFER.drain()
    yield
    COUNTER_BUFFER.drain()


def test_flush_adds_to_the_values_in_redis(queue: RedisQueue) -> None:
    for n in (1, 2):  # two flushes of one process are the same to Redis as one of each of two processes
        SEEN.add("fetch", n=n)
        SEEN.add("notify")
        assert flush(queue)
    assert read_counters(queue) == {"seen_total|fetch": 3, "seen_total|notify": 2}


def test_flush_sends_each_increment_once(queue: RedisQueue) -> None:
    SEEN.add("fetch")
    assert flush(queue)
    assert flush(queue)
    assert read_counters(queue) == {"seen_total|fetch": 1}


def test_flush_keeps_increments_while_redis_is_down(queue: RedisQueue, own_valkey: ValkeyServer) -> None:
    unreachable = RedisQueue(connect(own_valkey.url, timeout_s=0.25), queues=["fetch"])
    own_valkey.stop()
    SEEN.add("fetch")
    assert not flush(unreachable)
    SEEN.add("fetch")
    assert flush(queue)
    assert read_counters(queue) == {"seen_total|fetch": 2}


def test_flush_keeps_increments_while_redis_is_full(own_valkey: ValkeyServer) -> None:
    full = RedisQueue(connect(own_valkey.url, timeout_s=2), queues=["fetch"])
    full.client.config_set("maxmemory", "1")
    SEEN.add("fetch")
    assert not flush(full)
    full.client.config_set("maxmemory", "0")
    assert flush(full)
    assert read_counters(full) == {"seen_total|fetch": 1}


def test_flush_skips_a_field_that_is_not_a_number(queue: RedisQueue) -> None:
    queue.client.hset(queue.keys.metrics, "seen_total|fetch", "rubbish")
    SEEN.add("fetch")
    SEEN.add("notify")
    assert flush(queue)
    assert flush(queue)
    assert read_counters(queue) == {"seen_total|notify": 1}


def test_forked_child_starts_with_an_empty_buffer() -> None:
    SEEN.add("fetch")
    child = os.fork()
    if child == 0:
        os._exit(1 if COUNTER_BUFFER.drain() else 0)
    assert os.waitpid(child, 0)[1] == 0
    assert COUNTER_BUFFER.drain() == {"seen_total|fetch": 1}


def test_gauges_add_up_over_running_processes(queue: RedisQueue, monkeypatch: pytest.MonkeyPatch) -> None:
    own = GaugeValues()  # threads of other tests may still set the gauges of this process
    for module in (metrics, metrics_store):
        monkeypatch.setattr(module, "GAUGE_VALUES", own)
    gauge = Gauge("esteira_level", "A level.", ("channel",))
    gauge.set(3, "live")
    assert flush(queue)
    other = queue.keys.gauge("esteira_level|live", "elsewhere:1")
    queue.client.set(other, 4, px=60_000)
    queue.client.sadd(queue.keys.gauges, other)
    assert read_gauges(queue) == {"esteira_level|live": 7}
    assert all(0 < queue.client.pttl(key) <= 60_000 for key in queue.client.smembers(queue.keys.gauges))
    queue.client.delete(other)
    assert read_gauges(queue) == {"esteira_level|live": 3}
    assert queue.client.scard(queue.keys.gauges) == 1
    gauge.set(0, "live")
    assert flush(queue)
    assert read_gauges(queue) == {"esteira_level|live": 0}
    assert not own.changed()
