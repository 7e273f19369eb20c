"""Metric families of prometheus-client, built from values in the form of `pipeline.metrics`.

A family without labels starts at zero; one with labels has no sample before its first value. Values with a different
number of labels were written by another version and are left out.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from itertools import accumulate

from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily

from pipeline.metrics import SEPARATOR, SUM, Counter, Gauge, Histogram

Labelled = tuple[tuple[str, ...], float]


def counter_family(counter: Counter, values: Mapping[str, float]) -> CounterMetricFamily:
    family = CounterMetricFamily(counter.name, counter.help, labels=counter.labels)
    for labels, value in _samples(counter, values):
        family.add_metric(labels, value)
    return family


def gauge_family(gauge: Gauge, values: Mapping[str, float]) -> GaugeMetricFamily:
    return gauge_of(gauge.name, gauge.help, gauge.labels, _samples(gauge, values))


def gauge_of(name: str, text: str, labels: Iterable[str], samples: Iterable[Labelled]) -> GaugeMetricFamily:
    """A gauge with these samples, each a tuple of label values and a number."""
    family = GaugeMetricFamily(name, text, labels=tuple(labels))
    for label_values, value in samples:
        family.add_metric(label_values, value)
    return family


def histogram_family(histogram: Histogram, values: Mapping[str, float]) -> HistogramMetricFamily:
    family = HistogramMetricFamily(histogram.name, histogram.help, labels=histogram.labels)
    series: dict[tuple[str, ...], dict[str, float]] = {}
    for labels, value in _values(histogram.name, values, parts=len(histogram.labels) + 1):
        series.setdefault(labels[:-1], {})[labels[-1]] = value
    for labels, parts in sorted(series.items()):
        counts = accumulate(parts.get(bucket, 0) for bucket in histogram.buckets)
        family.add_metric(labels, list(zip(histogram.buckets, counts, strict=True)), parts.get(SUM, 0))
    return family


def _samples(metric: Counter | Gauge, values: Mapping[str, float]) -> list[Labelled]:
    samples = dict(_values(metric.name, values, parts=len(metric.labels)))
    if not metric.labels:
        samples.setdefault((), 0)
    return sorted(samples.items())


def _values(metric: str, values: Mapping[str, float], *, parts: int) -> Iterator[Labelled]:
    for field, value in values.items():
        name, *labels = field.split(SEPARATOR)
        if name == metric and len(labels) == parts:
            yield tuple(labels), value
