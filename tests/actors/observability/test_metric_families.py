"""Values in the form of `pipeline.metrics` become the text that Prometheus reads."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from prometheus_client import generate_latest
from prometheus_client.core import Metric
from prometheus_client.registry import Collector

from actors.observability.metric_families import counter_family, gauge_family, gauge_of, histogram_family
from pipeline.metrics import COUNTER_BUFFER, COUNTERS, GAUGES, HISTOGRAMS, Counter, Gauge, Histogram
from tests.support.scraped import Page

SEEN = Counter("seen_total", "Seen.", ("stage",))
TOOK = Histogram("took_seconds", "Took.", ("stage",), (0.1, 1.0))


class Families(Collector):
    def __init__(self, *families: Metric) -> None:
        self._families = families

    def collect(self) -> Iterator[Metric]:
        return iter(self._families)


def text(*families: Metric) -> str:
    return generate_latest(Families(*families)).decode()


@pytest.fixture(autouse=True)
def _empty_counter_buffer() -> Iterator[None]:
    COUNTER_BUFFER.drain()
    yield
    COUNTER_BUFFER.drain()


def test_counter_has_a_sample_for_each_label_value() -> None:
    page = Page(text(counter_family(SEEN, {"seen_total|fetch": 3, "seen_total|notify": 2, "other_total": 1})))
    assert page.kinds == {"seen_total": "counter"}
    assert (page.value("seen_total", stage="fetch"), page.value("seen_total", stage="notify")) == (3, 2)


def test_metric_without_labels_starts_at_zero() -> None:
    assert Page(text(counter_family(Counter("plain_total", "Plain."), {}))).value("plain_total") == 0
    assert Page(text(gauge_family(Gauge("plain", "Plain."), {}))).value("plain") == 0


def test_metric_with_labels_has_no_sample_before_its_first_value() -> None:
    assert counter_family(SEEN, {}).samples == []
    assert histogram_family(TOOK, {}).samples == []


def test_values_with_another_number_of_labels_are_left_out() -> None:
    values = {"seen_total": 1.0, "seen_total|fetch|new": 1.0, "seen_total|fetch": 5.0, "strange": 1.0}
    [sample] = counter_family(SEEN, values).samples
    assert (sample.labels, sample.value) == ({"stage": "fetch"}, 5)


def test_histogram_buckets_are_cumulative() -> None:
    for seconds in (0.05, 0.1, 0.5, 7):
        TOOK.observe(seconds, "fetch")
    page = Page(text(histogram_family(TOOK, COUNTER_BUFFER.drain())))
    assert page.kinds == {"took_seconds": "histogram"}
    assert [page.value("took_seconds_bucket", stage="fetch", le=le) for le in ("0.1", "1.0", "+Inf")] == [2, 3, 4]
    assert page.value("took_seconds_count") == 4
    assert page.value("took_seconds_sum") == pytest.approx(7.65)


def test_observe_counts_several_equal_durations() -> None:
    TOOK.observe(0.05, "fetch", n=3)
    TOOK.observe(0.5, "fetch", n=2)
    TOOK.observe(-1, "fetch")  # the clock was set back
    page = Page(text(histogram_family(TOOK, COUNTER_BUFFER.drain())))
    assert [page.value("took_seconds_bucket", stage="fetch", le=le) for le in ("0.1", "1.0")] == [4, 6]
    assert page.value("took_seconds_sum") == pytest.approx(1.15)


def test_help_and_label_values_are_escaped() -> None:
    family = gauge_of("odd", "A \\ and\na line.", ["place"], [(('a "b"\n\\',), 1.5)])
    assert text(family).splitlines() == [
        "# HELP odd A \\\\ and\\na line.",
        "# TYPE odd gauge",
        'odd{place="a \\"b\\"\\n\\\\"} 1.5',
    ]


def test_metric_names_and_labels_follow_the_conventions() -> None:
    for counter in COUNTERS:
        assert counter.name.startswith("esteira_")
        assert counter.name.endswith("_total")
    for histogram in HISTOGRAMS:
        assert histogram.name.startswith("esteira_")
        assert histogram.name.endswith("_seconds")
        assert list(histogram.bounds) == sorted(set(histogram.bounds))
    # The values of these labels come from lists in the code and the settings, so their number is bounded.
    bounded = {"stage", "outcome", "code", "kind", "status", "cause", "gateway", "channel", "endpoint"}
    for metric in (*COUNTERS, *GAUGES, *HISTOGRAMS):
        assert set(metric.labels) <= bounded
