"""The text of `GET /metrics`: the metrics of all processes, and the current state of queues, catalogue and disks."""

from __future__ import annotations

import shutil
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from importlib.metadata import version
from typing import Any, NamedTuple

import redis
from prometheus_client import CONTENT_TYPE_PLAIN_0_0_4, generate_latest
from prometheus_client.core import CounterMetricFamily, Metric
from prometheus_client.registry import Collector

from actors.observability.metric_families import counter_family, gauge_family, gauge_of, histogram_family
from actors.observability.metrics_store import read_counters, read_gauges
from actors.redis_queue.queue import RedisQueue
from pipeline.catalogue import EndpointStats
from pipeline.catalogue.tables import IGNORED_BY_RULE
from pipeline.errors import PipelineError
from pipeline.intake_spool import open_spool
from pipeline.metrics import COUNTERS, GAUGES, HISTOGRAMS
from pipeline.services import Services
from pipeline.storage import LocalStorage
from pipeline.values.paths import nearest_existing

CONTENT_TYPE = CONTENT_TYPE_PLAIN_0_0_4

# Counted in the catalogue: these survive the loss of Redis and the restart of every process.
TOTALS = {
    "received": "Attachments accepted since the catalogue was created.",
    "duplicates": "Attachments handed over that were already known.",
    "fallbacks": "Attachments processed in the caller's process because the queue was unreachable.",
    "ignored": "Messages without media received from gateways, and those that INTAKE_RULES refuse.",
    "deduplicated": "Attachments that were not downloaded because storage already had their content; "
    "esteira_deduplicated_bytes_total counts bytes that were not written.",
}
WEBHOOK_GAUGES: dict[str, tuple[str, Callable[[EndpointStats], float]]] = {
    "pending": ("Events that are not delivered to this endpoint yet.", lambda stats: stats.pending),
    "undelivered": ("Events that were given up and not redelivered.", lambda stats: stats.undelivered),
    "oldest_pending_seconds": ("Age of the oldest pending event.", lambda stats: stats.oldest_s),
    "circuit_open": (
        "1 while this endpoint fails and gets one event at a time, 0 otherwise.",
        lambda stats: stats.circuit.open,
    ),
}


class QueueState(NamedTuple):
    """The state of Redis: messages by stage and state, running workers, and the values of `metrics_store`."""

    messages: Mapping[str, Mapping[str, int]]
    workers: int
    counters: Mapping[str, float]
    gauges: Mapping[str, float]


class CatalogueState(NamedTuple):
    """The state of the catalogue; `pauses` counts them by kind."""

    totals: Mapping[str, int]
    oldest_s: float
    webhooks: Sequence[EndpointStats]
    pauses: Mapping[str, int]


class MetricsCollector(Collector):
    """Collects every metric. If Redis or the catalogue is unreachable, `esteira_up` says so and its part is missing.

    `circuit_open`: the process considers Redis unreachable, so a scrape does not wait for it.
    `worker_timeout_s`: a worker without a heartbeat for that long does not count as running.
    """

    def __init__(self, services: Services, queue: RedisQueue, *, circuit_open: bool, worker_timeout_s: float) -> None:
        self._services = services
        self._queue = queue
        self._circuit_open = circuit_open
        self._worker_timeout_s = worker_timeout_s

    def collect(self) -> Iterator[Metric]:
        """Every family that has a sample."""
        return (family for family in self._families() if family.samples)

    def _families(self) -> Iterator[Metric]:
        queues = None if self._circuit_open else _queue_state(self._queue, self._worker_timeout_s)
        catalogue = _catalogue_state(self._services)
        yield gauge_of("esteira_build_info", "The running version.", ("version",), [((version("esteira"),), 1)])
        up = [(("redis",), queues is not None), (("catalogue",), catalogue is not None)]
        yield gauge_of("esteira_up", "Whether Redis and the catalogue are reachable.", ("part",), up)
        text = "1 while the answering process considers Redis unreachable and processes attachments without the queue."
        yield gauge_of("esteira_circuit_open", text, (), [((), self._circuit_open)])
        yield from _disk_families(self._services)
        yield from _spool_families(self._services)
        if queues:
            yield from _queue_families(queues)
        if catalogue:
            yield from _catalogue_families(catalogue)


def metrics_page(services: Services, queue: RedisQueue, *, circuit_open: bool, worker_timeout_s: float) -> bytes:
    """The page in Prometheus' text format; the arguments are those of MetricsCollector."""
    collector = MetricsCollector(services, queue, circuit_open=circuit_open, worker_timeout_s=worker_timeout_s)
    return generate_latest(collector)


def _queue_state(queue: RedisQueue, worker_timeout_s: float) -> QueueState | None:
    try:
        messages = queue.stats.counts() | queue.preview_queue.stats.counts()
        return QueueState(messages, _running_workers(queue, worker_timeout_s), read_counters(queue), read_gauges(queue))
    except (redis.RedisError, OSError):
        return None


def _running_workers(queue: RedisQueue, worker_timeout_s: float) -> int:
    now: Any = queue.client.time()
    seconds, _ = now
    workers: Any = queue.client.zcount(queue.keys.workers, (seconds - worker_timeout_s) * 1000, "+inf")
    return int(workers)


def _catalogue_state(services: Services) -> CatalogueState | None:
    catalogue = services.catalogue
    try:
        kinds = Counter(pause.kind for pause in catalogue.pauses.all())
        return CatalogueState(
            totals=catalogue.totals(),
            oldest_s=catalogue.statistics.oldest_unfinished_s(),
            webhooks=catalogue.deliveries.endpoint_stats(services.webhooks.endpoints),
            pauses={kind: kinds[kind] for kind in ("stage", "session")},
        )
    except PipelineError:
        return None


def _queue_families(queues: QueueState) -> Iterator[Metric]:
    messages = [((stage, state), count) for stage, counts in queues.messages.items() for state, count in counts.items()]
    text = "Messages by stage and state: ready, delayed, running, dead."
    yield gauge_of("esteira_queue_messages", text, ("stage", "state"), messages)
    yield gauge_of("esteira_workers", "Running worker processes.", (), [((), queues.workers)])
    yield from (counter_family(counter, queues.counters) for counter in COUNTERS)
    yield from (gauge_family(gauge, queues.gauges) for gauge in GAUGES)
    yield from (histogram_family(histogram, queues.counters) for histogram in HISTOGRAMS)


def _catalogue_families(catalogue: CatalogueState) -> Iterator[Metric]:
    for name, text in TOTALS.items():
        yield CounterMetricFamily(f"esteira_{name}_total", text, catalogue.totals[name])
    yield _rule_family(catalogue.totals)
    pauses = [((kind,), count) for kind, count in catalogue.pauses.items()]
    yield gauge_of("esteira_pauses", "Paused stages and sessions.", ("kind",), pauses)
    text = "Age of the oldest unfinished attachment, replays not included; 0 if there is none."
    yield gauge_of("esteira_oldest_unfinished_seconds", text, (), [((), catalogue.oldest_s)])
    for name, (text, value) in WEBHOOK_GAUGES.items():
        samples = [((stats.endpoint,), value(stats)) for stats in catalogue.webhooks]
        yield gauge_of(f"esteira_webhook_{name}", text, ("endpoint",), samples)


def _rule_family(totals: Mapping[str, int]) -> CounterMetricFamily:
    text = "Messages that a rule of INTAKE_RULES refuses, by its number."
    family = CounterMetricFamily("esteira_ignored_by_rule_total", text, labels=("rule",))
    for name, count in totals.items():
        if name.startswith(IGNORED_BY_RULE):
            family.add_metric((name.removeprefix(IGNORED_BY_RULE),), count)
    return family


def _disk_families(services: Services) -> Iterator[Metric]:
    directories = {"var": services.settings.var_dir, "staging": services.settings.staging}
    if isinstance(services.storage, LocalStorage):
        directories["storage"] = services.storage.root
    free, size = [], []
    for name, path in directories.items():
        try:
            disk = shutil.disk_usage(nearest_existing(path))
        except OSError:
            continue
        free.append(((name,), float(disk.free)))
        size.append(((name,), float(disk.total)))
    text = "Free bytes on the disk of this directory, on the host that answers."
    yield gauge_of("esteira_disk_free_bytes", text, ("place",), free)
    yield gauge_of("esteira_disk_size_bytes", "Size of the disk of this directory in bytes.", ("place",), size)


def _spool_families(services: Services) -> Iterator[Metric]:
    if (spool := open_spool(services.settings)) is None:
        return
    status = spool.status()
    for name, text, value in (
        ("entries", "Attachments in the intake spool of the host that answers.", status.entries),
        ("bytes", "What the intake spool takes of the disk, in bytes.", status.size_bytes),
        ("limit_bytes", "INTAKE_SPOOL_MB in bytes.", spool.max_bytes),
        ("oldest_seconds", "Age of the oldest entry of the intake spool; 0 if it is empty.", status.oldest_s),
        ("damaged", "Entries of the intake spool that were set aside.", status.damaged),
    ):
        yield gauge_of(f"esteira_intake_spool_{name}", text, (), [((), value)])
