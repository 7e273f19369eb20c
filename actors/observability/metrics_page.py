"""Everything that `GET /metrics` tells: the figures of all processes, and how things stand in this moment."""

from __future__ import annotations

import shutil
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from importlib.metadata import version
from typing import Any, NamedTuple

import redis

from actors.observability.exposition import Family, Sample, counted, exposed, measured, timed
from actors.observability.metrics_store import read_counters, read_gauges
from actors.redis_queue.queue import RedisQueue
from pipeline.catalogue import EndpointStats
from pipeline.errors import PipelineError
from pipeline.metrics import COUNTERS, GAUGES, HISTOGRAMS
from pipeline.services import Services
from pipeline.storage import LocalStorage
from pipeline.values.paths import nearest_existing

TOTALS = {  # of the catalogue: they outlive Redis and every process
    "received": "Attachments that were accepted, since the catalogue began.",
    "duplicates": "Attachments that were handed over once more.",
    "fallbacks": "Attachments that were worked on in the caller's process, for the queue was away.",
    "ignored": "Messages of gateways that carried no media.",
    "deduplicated": "Attachments that were not downloaded, for storage held their content already.",
}


class Queues(NamedTuple):
    """How things stand in Redis: messages by stage and state, living workers, what processes have told of."""

    counts: Mapping[str, Mapping[str, int]]
    workers: int
    figures: Mapping[str, float]
    levels: Mapping[str, float]


class Rows(NamedTuple):
    """How things stand in the catalogue."""

    totals: Mapping[str, int]
    oldest_s: float
    webhooks: Sequence[EndpointStats]
    pauses: Mapping[str, int]


def metrics_page(services: Services, queue: RedisQueue, *, circuit_open: bool, worker_timeout_s: float) -> str:
    """The page, from what this process's hook is connected to. What is away is told as away, and left out."""
    queues = (
        None if circuit_open else _queues(queue, worker_timeout_s)
    )  # an open circuit: a scrape does not wait for Redis
    rows = _rows(services)
    return exposed(
        [
            _gauge("esteira_build_info", "The version that answers.", Sample(1, {"version": version("esteira")})),
            _gauge(
                "esteira_up",
                "Whether redis and the catalogue answer.",
                Sample(queues is not None, {"part": "redis"}),
                Sample(rows is not None, {"part": "catalogue"}),
            ),
            _gauge(
                "esteira_circuit_open",
                "Whether the process that answers takes attachments without waiting for Redis.",
                Sample(circuit_open),
            ),
            *_of_disks(services),
            *(_of_queues(queues) if queues else ()),
            *(_of_rows(rows) if rows else ()),
        ]
    )


def _queues(queue: RedisQueue, worker_timeout_s: float) -> Queues | None:
    try:
        counts = queue.stats.counts() | queue.preview_queue.stats.counts()
        return Queues(counts, _workers(queue, worker_timeout_s), read_counters(queue), read_gauges(queue))
    except (redis.RedisError, OSError):
        return None


def _workers(queue: RedisQueue, worker_timeout_s: float) -> int:
    now: Any = queue.client.time()
    seconds, _ = now
    alive: Any = queue.client.zcount(queue.keys.workers, (seconds - worker_timeout_s) * 1000, "+inf")
    return int(alive)


def _rows(tools: Services) -> Rows | None:
    try:
        kinds = Counter(pause.kind for pause in tools.catalogue.pauses.all())
        return Rows(
            totals=tools.catalogue.totals(),
            oldest_s=tools.catalogue.oldest_s(),
            webhooks=tools.catalogue.deliveries.endpoint_stats(tools.webhooks.endpoints),
            pauses={kind: kinds[kind] for kind in ("stage", "session")},
        )
    except PipelineError:
        return None


def _of_queues(queues: Queues) -> Iterator[Family]:
    states = [
        Sample(n, {"stage": stage, "state": state})
        for stage, counts in queues.counts.items()
        for state, n in counts.items()
    ]
    yield _gauge(
        "esteira_queue_messages",
        "Messages by the stage they wait for or ran from: ready, delayed, running, dead.",
        *states,
    )
    yield _gauge("esteira_workers", "Worker processes whose heart beats.", Sample(queues.workers))
    yield from (counted(counter, queues.figures) for counter in COUNTERS)
    yield from (measured(gauge, queues.levels) for gauge in GAUGES)
    yield from (timed(histogram, queues.figures) for histogram in HISTOGRAMS)


def _of_rows(rows: Rows) -> Iterator[Family]:
    for name, text in TOTALS.items():
        yield Family(f"esteira_{name}_total", "counter", text, [Sample(rows.totals[name])])
    paused = [Sample(n, {"kind": kind}) for kind, n in rows.pauses.items()]
    yield _gauge("esteira_pauses", "Stages and sessions that somebody has paused.", *paused)
    text = "How long ago the oldest arrived that has not ended, replays aside; 0 if all have."
    yield _gauge("esteira_oldest_unfinished_seconds", text, Sample(rows.oldest_s))
    yield from _of_webhooks(rows.webhooks)


def _of_webhooks(standings: Sequence[EndpointStats]) -> Iterator[Family]:
    figures: dict[str, tuple[str, Callable[[EndpointStats], float]]] = {
        "pending": ("Events that an endpoint has still to get.", lambda one: one.pending),
        "undelivered": ("Events that were given up and not redelivered.", lambda one: one.undelivered),
        "oldest_pending_seconds": (
            "How long the oldest of those has waited that it has to get.",
            lambda one: one.oldest_s,
        ),
        "circuit_open": (
            "Whether an endpoint fails, and is tried with one event at a time.",
            lambda one: one.circuit.open,
        ),
    }
    for name, (text, figure) in figures.items():
        samples = (Sample(figure(one), {"endpoint": one.endpoint}) for one in standings)
        yield _gauge(f"esteira_webhook_{name}", text, *samples)


def _of_disks(tools: Services) -> Iterator[Family]:
    places = {"var": tools.settings.var_dir, "staging": tools.settings.staging}
    if isinstance(tools.storage, LocalStorage):
        places["storage"] = tools.storage.root
    free, size = [], []
    for place, path in places.items():
        try:
            disk = shutil.disk_usage(nearest_existing(path))
        except OSError:
            continue
        free.append(Sample(disk.free, {"place": place}))
        size.append(Sample(disk.total, {"place": place}))
    yield _gauge(
        "esteira_disk_free_bytes", "Free bytes of the disk that holds this folder, on the web app's host.", *free
    )
    yield _gauge("esteira_disk_size_bytes", "Size of the disk that holds this folder.", *size)


def _gauge(name: str, text: str, *samples: Sample) -> Family:
    return Family(name, "gauge", text, list(samples))
