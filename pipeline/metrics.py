"""Counters, histograms and gauges of `GET /metrics` that are recorded while the pipeline runs.

Recording adds to a dictionary of this process, which takes half a microsecond. `actors.observability.metrics_store`
flushes it to Redis every few seconds, where the values of all processes on all hosts are added up. Label values come
from fixed lists in the code and the settings only, so that their number is bounded; a session's name is never a label.
"""

from __future__ import annotations

import os
import threading
from bisect import bisect_left
from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property

SEPARATOR = "|"  # between the parts of a field's name: metric, label values, and the bucket of a histogram
SUM, INFINITY = "sum", "+Inf"
SHORT_BUCKETS_S = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0)
LONG_BUCKETS_S = (0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 300.0, 1800.0, 7200.0)


class CounterBuffer:
    """The increments of this process that are not flushed yet. A forked child starts with an empty buffer."""

    def __init__(self) -> None:
        self._reset()
        os.register_at_fork(after_in_child=self._reset)

    def _reset(self) -> None:
        self._values: defaultdict[str, float] = defaultdict(float)
        self._lock = threading.Lock()

    def add(self, name: str, n: float) -> None:
        with self._lock:
            self._values[name] += n

    def add_pair(self, first: str, n: float, second: str, m: float) -> None:
        with self._lock:
            self._values[first] += n
            self._values[second] += m

    def add_all(self, values: Mapping[str, float]) -> None:
        with self._lock:
            for name, n in values.items():
                self._values[name] += n

    def drain(self) -> dict[str, float]:
        """Removes and returns all increments."""
        with self._lock:
            values, self._values = self._values, defaultdict(float)
        return dict(values)


COUNTER_BUFFER = CounterBuffer()


@dataclass(frozen=True)
class Counter:
    """A number that only grows, for each combination of label values."""

    name: str
    help: str
    labels: tuple[str, ...] = ()

    def add(self, *values: str, n: float = 1) -> None:
        COUNTER_BUFFER.add(SEPARATOR.join((self.name, *values)), n)


@dataclass(frozen=True)
class Histogram:
    """A distribution of durations; `bounds` are the upper bounds of its buckets in seconds, ascending."""

    name: str
    help: str
    labels: tuple[str, ...]
    bounds: tuple[float, ...]

    @cached_property
    def buckets(self) -> tuple[str, ...]:
        """The upper bounds as Prometheus' `le` label has them, ending with `+Inf`."""
        return (*map(str, self.bounds), INFINITY)

    def observe(self, seconds: float, *values: str, n: int = 1) -> None:
        """Records `n` observations of `seconds` each."""
        name = SEPARATOR.join((self.name, *values, ""))
        bucket = self.buckets[bisect_left(self.bounds, seconds)]
        COUNTER_BUFFER.add_pair(name + bucket, n, name + SUM, n * seconds if seconds > 0 else 0.0)


class GaugeValues:
    """The gauges of this process. A forked child starts without its parent's values."""

    def __init__(self) -> None:
        self._reset()
        os.register_at_fork(after_in_child=self._reset)

    def _reset(self) -> None:
        self._values: dict[str, float] = {}
        self._flushed: dict[str, float] = {}

    def set(self, name: str, n: float) -> None:
        self._values[name] = n

    def changed(self) -> dict[str, float]:
        """The gauges that are not zero, and those that have become zero since the previous call."""
        values = dict(self._values)
        pending = {name: n for name, n in values.items() if n or self._flushed.get(name)}
        self._flushed = values
        return pending


GAUGE_VALUES = GaugeValues()


@dataclass(frozen=True)
class Gauge:
    """A number of this process that goes up and down; the page shows the sum over all running processes."""

    name: str
    help: str
    labels: tuple[str, ...] = ()

    def set(self, n: float, *values: str) -> None:
        GAUGE_VALUES.set(SEPARATOR.join((self.name, *values)), n)


ATTEMPTS = Counter(
    "esteira_attempts_total",
    "Attempts at a stage. outcome is done, or error for every failed attempt.",
    ("stage", "outcome"),
)
RETRIES = Counter("esteira_retries_total", "Failed attempts that will be retried, by error code.", ("stage", "code"))
RESULTS = Counter(
    "esteira_endings_total", "Finished attachments. code is empty if the status is done.", ("kind", "status", "code")
)
STORED_BYTES = Counter("esteira_stored_bytes_total", "Total size of the stored attachments, duplicates included.")
DEDUPLICATED_BYTES = Counter(
    "esteira_deduplicated_bytes_total",
    "Bytes of stored attachments, downloaded or not, that were not written because storage already had the content.",
)
NOT_DOWNLOADED_BYTES = Counter(
    "esteira_not_downloaded_bytes_total",
    "Bytes of the attachments of esteira_deduplicated_total: not downloaded because storage already had the content.",
)
REUPLOADS_ASKED = Counter(
    "esteira_reuploads_total",
    "Requests to gateways for files whose source is gone. outcome is ok, refused (the gateway does not have the file "
    "either, or sent another one) or failed (no usable answer).",
    ("gateway", "outcome"),
)
REQUEUED = Counter("esteira_swept_total", "Attachments missing from the queue that the requeue scan enqueued again.")
TAKEN_OVER = Counter("esteira_taken_over_total", "Messages of dead workers that were returned to the queue.")
SANDBOX_STARTS = Counter("esteira_sandbox_starts_total", "Decoder processes started.")
SANDBOX_DEATHS = Counter(
    "esteira_sandbox_deaths_total",
    "Decoder processes that died during a call, by cause: cpu, crash, killed, overdue, nonsense, start.",
    ("cause",),
)
SCANS = Counter(
    "esteira_antivirus_scans_total",
    "Scans by clamd. outcome is clean, infected, error, or away if clamd did not answer.",
    ("outcome",),
)
PREVIEWS = Counter(
    "esteira_previews_total", "Previews. outcome is made, none (the content has none) or failed.", ("outcome",)
)
CIRCUIT_OPENINGS = Counter(
    "esteira_circuit_openings_total", "Times a process stopped using Redis because Redis was unreachable."
)
SPOOL_ENTRIES = Counter(
    "esteira_intake_spool_total",
    "Attachments handed over while the catalogue was away. outcome is added (written to the intake spool), refused (it "
    "could not take the attachment), handed_over (from the spool to the catalogue) or damaged (set aside).",
    ("outcome",),
)
EVENTS_SENT = Counter(
    "esteira_events_sent_total",
    "Events sent to Redis. channel is live for the web app's clients, node for those of a Node server.",
    ("channel",),
)
EVENTS_LOST = Counter(
    "esteira_events_lost_total",
    "Events dropped because more than EVENT_HISTORY of them were waiting for Redis.",
    ("channel",),
)
EVENTS_WAITING = Gauge("esteira_events_waiting", "Events waiting in their processes for Redis.", ("channel",))
SOCKET_CLIENTS = Gauge("esteira_socket_clients", "Connected Socket.IO clients.")
WEBHOOK_ATTEMPTS = Counter(
    "esteira_webhook_attempts_total",
    "Attempts to deliver an event. outcome is delivered, failed (will be retried) or undelivered (given up).",
    ("endpoint", "outcome"),
)
STAGE_SECONDS = Histogram(
    "esteira_stage_duration_seconds", "Duration of successful stages.", ("stage",), (*SHORT_BUCKETS_S, 30.0, 60.0)
)
SCAN_SECONDS = Histogram(
    "esteira_antivirus_duration_seconds", "Duration of scans that found nothing.", (), (*SHORT_BUCKETS_S, 30.0, 60.0)
)
PREVIEW_SECONDS = Histogram(
    "esteira_preview_duration_seconds", "Duration of making a preview.", ("outcome",), (*SHORT_BUCKETS_S, 30.0, 60.0)
)
TOTAL_SECONDS = Histogram(
    "esteira_whole_duration_seconds",
    "Time from received to finished, replays not included.",
    ("status",),
    LONG_BUCKETS_S,
)
HOOK_SECONDS = Histogram(
    "esteira_hook_duration_seconds",
    "Time from a webhook request to its answer.",
    ("gateway", "status"),
    SHORT_BUCKETS_S,
)

COUNTERS = (
    *(ATTEMPTS, RETRIES, RESULTS, STORED_BYTES, DEDUPLICATED_BYTES, NOT_DOWNLOADED_BYTES, REQUEUED, TAKEN_OVER),
    REUPLOADS_ASKED,
    SPOOL_ENTRIES,
    *(SANDBOX_STARTS, SANDBOX_DEATHS, SCANS, CIRCUIT_OPENINGS, EVENTS_SENT, EVENTS_LOST, WEBHOOK_ATTEMPTS, PREVIEWS),
)
GAUGES = (EVENTS_WAITING, SOCKET_CLIENTS)
HISTOGRAMS = (STAGE_SECONDS, SCAN_SECONDS, TOTAL_SECONDS, HOOK_SECONDS, PREVIEW_SECONDS)
