"""Prometheus' text format, version 0.0.4."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from itertools import accumulate
from typing import Literal

from pipeline.metrics import SEPARATOR, SUM, Counter, Gauge, Histogram

CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"


@dataclass(frozen=True)
class Sample:
    """One value; `suffix` is `_bucket`, `_sum` or `_count` within a histogram."""

    value: float
    labels: Mapping[str, str] = field(default_factory=dict)
    suffix: str = ""


@dataclass(frozen=True)
class Family:
    """A metric with all its samples."""

    name: str
    kind: Literal["counter", "gauge", "histogram"]
    text: str
    samples: list[Sample]


def exposed(families: Iterable[Family]) -> str:
    """The page that Prometheus reads; a metric without samples is left out."""
    lines = [line for family in families if family.samples for line in _lines(family)]
    return "".join(f"{line}\n" for line in lines)


def counted(counter: Counter, figures: Mapping[str, float]) -> Family:
    """A counter's samples among the figures of `pipeline.metrics`. One without labels is there from the start."""
    found = dict(_values(counter, figures, parts=len(counter.labels)))
    if not counter.labels:
        found.setdefault((), 0)
    samples = [Sample(n, dict(zip(counter.labels, values, strict=True))) for values, n in sorted(found.items())]
    return Family(counter.name, "counter", counter.text, samples)


def measured(gauge: Gauge, levels: Mapping[str, float]) -> Family:
    """A gauge's samples among the levels of `pipeline.metrics`. One without labels is there from the start."""
    found = dict(_values(gauge, levels, parts=len(gauge.labels)))
    if not gauge.labels:
        found.setdefault((), 0)
    samples = [Sample(n, dict(zip(gauge.labels, values, strict=True))) for values, n in sorted(found.items())]
    return Family(gauge.name, "gauge", gauge.text, samples)


def timed(histogram: Histogram, figures: Mapping[str, float]) -> Family:
    """A histogram's samples among the figures of `pipeline.metrics`."""
    by_labels: dict[tuple[str, ...], dict[str, float]] = {}
    for values, n in _values(histogram, figures, parts=len(histogram.labels) + 1):
        by_labels.setdefault(values[:-1], {})[values[-1]] = n
    samples: list[Sample] = []
    for names, parts in sorted(by_labels.items()):
        labels = dict(zip(histogram.labels, names, strict=True))
        up_to = list(accumulate(parts.get(bucket, 0) for bucket in histogram.buckets))
        pairs = zip(histogram.buckets, up_to, strict=True)
        samples += [Sample(n, {**labels, "le": bucket}, "_bucket") for bucket, n in pairs]
        samples += [Sample(parts.get(SUM, 0), labels, "_sum"), Sample(up_to[-1], labels, "_count")]
    return Family(histogram.name, "histogram", histogram.text, samples)


def _values(
    meter: Counter | Gauge | Histogram, figures: Mapping[str, float], *, parts: int
) -> Iterator[tuple[tuple[str, ...], float]]:
    for name, n in figures.items():
        metric, *values = name.split(SEPARATOR)
        if metric == meter.name and len(values) == parts:  # another version may have had other labels
            yield tuple(values), n


def _lines(family: Family) -> Iterator[str]:
    yield f"# HELP {family.name} {_escaped(family.text)}"
    yield f"# TYPE {family.name} {family.kind}"
    for sample in family.samples:
        labels = ",".join(f'{name}="{_escaped(value, quote=True)}"' for name, value in sample.labels.items())
        yield f"{family.name}{sample.suffix}{f'{{{labels}}}' if labels else ''} {_number(sample.value)}"


def _escaped(text: str, *, quote: bool = False) -> str:
    text = text.replace("\\", "\\\\").replace("\n", "\\n")
    return text.replace('"', '\\"') if quote else text


def _number(value: float) -> str:
    return str(int(value)) if float(value).is_integer() else repr(float(value))
