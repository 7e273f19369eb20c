"""Figures of many processes add up in Redis, and become what Prometheus reads."""

from __future__ import annotations

import os
from collections.abc import Iterator

import pytest

from actors.observability import metrics_store
from actors.observability.exposition import Family, Sample, counted, exposed, timed
from actors.observability.metrics_store import flush, read_counters, read_gauges
from actors.redis_queue.queue import RedisQueue, connect
from pipeline import metrics
from pipeline.metrics import COUNTER_BUFFER, COUNTERS, GAUGES, HISTOGRAMS, Counter, Gauge, GaugeValues, Histogram
from pipeline.models import Stage
from tests.support.scraped import Page
from tests.support.valkey import ValkeyServer

SEEN = Counter("seen_total", "Seen.", ("stage",))
TOOK = Histogram("took_seconds", "Took.", ("stage",), (0.1, 1.0))


@pytest.fixture
def belt(valkey: ValkeyServer) -> RedisQueue:
    return RedisQueue(connect(valkey.url, timeout_s=2), queues=[stage.value for stage in Stage])


@pytest.fixture(autouse=True)
def _nothing_pending() -> Iterator[None]:
    COUNTER_BUFFER.drain()
    yield
    COUNTER_BUFFER.drain()


def test_what_several_processes_count_adds_up(belt: RedisQueue) -> None:
    for n in (1, 2):  # a process that ships twice is for Redis what two processes are
        SEEN.add("fetch", n=n)
        SEEN.add("notify")
        assert flush(belt)
    page = Page(exposed([counted(SEEN, read_counters(belt))]))
    assert (page.value("seen_total", stage="fetch"), page.value("seen_total", stage="notify")) == (3, 2)


def test_what_was_shipped_is_not_shipped_again(belt: RedisQueue) -> None:
    SEEN.add("fetch")
    assert flush(belt)
    assert flush(belt)
    assert read_counters(belt) == {"seen_total|fetch": 1}


def test_what_redis_does_not_take_is_kept_until_it_does(belt: RedisQueue, own_valkey: ValkeyServer) -> None:
    away = RedisQueue(connect(own_valkey.url, timeout_s=0.25), queues=["fetch"])
    own_valkey.stop()
    SEEN.add("fetch")
    assert not flush(away)
    SEEN.add("fetch")
    assert flush(belt)
    assert read_counters(belt) == {"seen_total|fetch": 2}


def test_a_field_that_is_no_number_spoils_no_other(belt: RedisQueue) -> None:
    belt.client.hset(belt.keys.metrics, "seen_total|fetch", "rubbish")
    SEEN.add("fetch")
    SEEN.add("notify")
    assert flush(belt)
    assert flush(belt)
    assert read_counters(belt) == {"seen_total|notify": 1}


def test_a_redis_that_is_full_takes_none_of_them_and_they_are_kept(belt: RedisQueue, own_valkey: ValkeyServer) -> None:
    full = RedisQueue(connect(own_valkey.url, timeout_s=2), queues=["fetch"])
    full.client.config_set("maxmemory", "1")
    SEEN.add("fetch")
    assert not flush(full)
    full.client.config_set("maxmemory", "0")
    assert flush(full)
    assert read_counters(full) == {"seen_total|fetch": 1}


def test_a_forked_child_does_not_ship_its_parents_figures() -> None:
    SEEN.add("fetch")
    child = os.fork()
    if child == 0:
        os._exit(1 if COUNTER_BUFFER.drain() else 0)
    assert os.waitpid(child, 0)[1] == 0
    assert COUNTER_BUFFER.drain() == {"seen_total|fetch": 1}


def test_a_histogram_counts_up_to_each_bound(belt: RedisQueue) -> None:
    for seconds in (0.05, 0.1, 0.5, 7):
        TOOK.observe(seconds, "fetch")
    flush(belt)
    page = Page(exposed([timed(TOOK, read_counters(belt))]))
    assert page.kinds == {"took_seconds": "histogram"}
    found = [page.value("took_seconds_bucket", stage="fetch", le=le) for le in ("0.1", "1.0", "+Inf")]
    assert found == [2, 3, 4]
    assert page.value("took_seconds_count") == 4
    assert page.value("took_seconds_sum") == pytest.approx(7.65)


def test_several_that_took_equally_long_count_each(belt: RedisQueue) -> None:
    TOOK.observe(0.05, "fetch", n=3)
    TOOK.observe(0.5, "fetch", n=2)
    TOOK.observe(-1, "fetch")  # a clock that was set back
    SEEN.add("fetch", n=4)
    flush(belt)
    page = Page(exposed([timed(TOOK, read_counters(belt)), counted(SEEN, read_counters(belt))]))
    assert [page.value("took_seconds_bucket", stage="fetch", le=le) for le in ("0.1", "1.0")] == [4, 6]
    assert page.value("took_seconds_sum") == pytest.approx(1.15)
    assert page.value("seen_total") == 4


def test_a_counter_without_labels_is_there_before_anything_was_counted() -> None:
    assert Page(exposed([counted(Counter("plain_total", "Plain."), {})])).value("plain_total") == 0
    assert exposed([counted(SEEN, {})]) == ""


def test_figures_of_another_version_with_other_labels_are_left_out() -> None:
    metrics_store = {"seen_total": 1.0, "seen_total|fetch|new": 1.0, "seen_total|fetch": 5.0, "strange": 1.0}
    assert exposed([counted(SEEN, metrics_store)]).splitlines()[2:] == ['seen_total{stage="fetch"} 5']


def test_label_values_are_escaped() -> None:
    family = Family("odd", "gauge", "A \\ and\na line.", [Sample(1.5, {"place": 'a "b"\n\\'})])
    assert exposed([family]).splitlines() == [
        "# HELP odd A \\\\ and\\na line.",
        "# TYPE odd gauge",
        'odd{place="a \\"b\\"\\n\\\\"} 1.5',
    ]


def test_names_keep_to_the_conventions() -> None:
    for counter in COUNTERS:
        assert counter.name.startswith("esteira_")
        assert counter.name.endswith("_total")
    for histogram in HISTOGRAMS:
        assert histogram.name.startswith("esteira_")
        assert histogram.name.endswith("_seconds")
        assert list(histogram.bounds) == sorted(set(histogram.bounds))
    bounded = {
        "stage",
        "outcome",
        "code",
        "kind",
        "status",
        "cause",
        "gateway",
        "channel",
        "endpoint",
    }  # of lists in code and settings
    for meter in (*COUNTERS, *GAUGES, *HISTOGRAMS):
        assert set(meter.labels) <= bounded


def test_levels_of_all_living_processes_add_up_and_those_of_the_dead_go(
    belt: RedisQueue, monkeypatch: pytest.MonkeyPatch
) -> None:
    own = GaugeValues()  # threads of other tests may still tell theirs
    for module in (metrics, metrics_store):
        monkeypatch.setattr(module, "GAUGE_VALUES", own)
    level = Gauge("esteira_level", "A level.", ("channel",))
    level.set(3, "live")
    assert flush(belt)
    other = belt.keys.gauge("esteira_level|live", "elsewhere:1")
    belt.client.set(other, 4, px=60_000)
    belt.client.sadd(belt.keys.gauges, other)
    assert read_gauges(belt) == {"esteira_level|live": 7}
    assert all(0 < belt.client.pttl(key) <= 60_000 for key in belt.client.smembers(belt.keys.gauges))
    belt.client.delete(other)
    assert read_gauges(belt) == {"esteira_level|live": 3}
    assert belt.client.scard(belt.keys.gauges) == 1
    level.set(0, "live")
    assert flush(belt)
    assert read_gauges(belt) == {"esteira_level|live": 0}
    assert not own.changed()  # nothing to tell any more
