"""What is counted and timed while it happens: every counter and histogram of `GET /metrics` that no table can tell.

A process adds to its own figures, which costs a microsecond; `actors.observability.metrics_store` brings them to
Redis every few seconds, where those of all processes on all hosts add up. Labels take values out of lists of ours
alone, never a session's name.
"""

from __future__ import annotations

import os
import threading
from bisect import bisect_left
from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property

SEPARATOR = "|"  # the parts of a figure's name: metric, label values, of a histogram the bucket
SUM, INFINITY = "sum", "+Inf"
SHORT_BUCKETS_S = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0)
LONG_BUCKETS_S = (0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 300.0, 1800.0, 7200.0)


class CounterBuffer:
    """The figures of this process that nobody has taken yet. A forked child begins without its parent's."""

    def __init__(self) -> None:
        self._forget()
        os.register_at_fork(after_in_child=self._forget)

    def _forget(self) -> None:
        self._figures: defaultdict[str, float] = defaultdict(float)
        self._lock = threading.Lock()

    def add(self, name: str, n: float) -> None:
        with self._lock:
            self._figures[name] += n

    def add_pair(self, first: str, n: float, second: str, m: float) -> None:
        with self._lock:
            self._figures[first] += n
            self._figures[second] += m

    def add_all(self, figures: Mapping[str, float]) -> None:
        with self._lock:
            for name, n in figures.items():
                self._figures[name] += n

    def drain(self) -> dict[str, float]:
        """All of them; they are the caller's from now on."""
        with self._lock:
            taken, self._figures = self._figures, defaultdict(float)
        return dict(taken)


COUNTER_BUFFER = CounterBuffer()


@dataclass(frozen=True)
class Counter:
    """A number that only grows, for each combination of its labels' values."""

    name: str
    text: str
    labels: tuple[str, ...] = ()

    def add(self, *values: str, n: float = 1) -> None:
        COUNTER_BUFFER.add(SEPARATOR.join((self.name, *values)), n)


@dataclass(frozen=True)
class Histogram:
    """How often something took at most so long; `bounds` in seconds, ascending."""

    name: str
    text: str
    labels: tuple[str, ...]
    bounds: tuple[float, ...]

    @cached_property
    def buckets(self) -> tuple[str, ...]:
        """The upper bounds as they are written, the last one without an end."""
        return (*map(str, self.bounds), INFINITY)

    def observe(self, seconds: float, *values: str, n: int = 1) -> None:
        """`n` things have taken so long, each of them."""
        name = SEPARATOR.join((self.name, *values, ""))
        bucket = self.buckets[bisect_left(self.bounds, seconds)]
        COUNTER_BUFFER.add_pair(name + bucket, n, name + SUM, n * seconds if seconds > 0 else 0.0)


class GaugeValues:
    """What goes up and down in this process. A forked child begins without its parent's."""

    def __init__(self) -> None:
        self._forget()
        os.register_at_fork(after_in_child=self._forget)

    def _forget(self) -> None:
        self._levels: dict[str, float] = {}
        self._told: dict[str, float] = {}

    def set(self, name: str, n: float) -> None:
        self._levels[name] = n

    def changed(self) -> dict[str, float]:
        """Those that are not zero, and those that have just become it."""
        now = dict(self._levels)
        taken = {name: n for name, n in now.items() if n or self._told.get(name)}
        self._told = now
        return taken


GAUGE_VALUES = GaugeValues()


@dataclass(frozen=True)
class Gauge:
    """A number of this process that goes up and down; those of all living processes are added up."""

    name: str
    text: str
    labels: tuple[str, ...] = ()

    def set(self, n: float, *values: str) -> None:
        GAUGE_VALUES.set(SEPARATOR.join((self.name, *values)), n)


ATTEMPTS = Counter(
    "esteira_attempts_total", "Attempts at a stage: outcome done, or error whatever follows.", ("stage", "outcome")
)
RETRIES = Counter("esteira_retries_total", "Attempts that will be made again, by the error's code.", ("stage", "code"))
RESULTS = Counter(
    "esteira_endings_total", "Attachments that ended; code is empty for what is done.", ("kind", "status", "code")
)
STORED_BYTES = Counter("esteira_stored_bytes_total", "Bytes of stored attachments, each counted whole.")
DEDUPLICATED_BYTES = Counter(
    "esteira_deduplicated_bytes_total", "Bytes among them that were not written, for the content stood there already."
)
NOT_DOWNLOADED_BYTES = Counter(
    "esteira_not_downloaded_bytes_total",
    "Bytes that were not downloaded, for storage held them already.",
)
REQUEUED = Counter("esteira_swept_total", "Attachments that the belt had lost and the sweep brought back.")
TAKEN_OVER = Counter("esteira_taken_over_total", "Messages taken over from workers that died.")
SANDBOX_STARTS = Counter("esteira_sandbox_starts_total", "Decoding processes started.")
SANDBOX_DEATHS = Counter(
    "esteira_sandbox_deaths_total",
    "Decoding processes that ended or were ended within a call: cpu, crash, killed, overdue, nonsense, start.",
    ("cause",),
)
SCANS = Counter(
    "esteira_antivirus_scans_total", "Scans by clamd: outcome clean, infected, error, or away for none.", ("outcome",)
)
PREVIEWS = Counter("esteira_previews_total", "Previews of contents: made, none to show, or failed.", ("outcome",))
CIRCUIT_OPENINGS = Counter(
    "esteira_circuit_openings_total", "Times a hook's process found Redis away and stopped waiting for it."
)
EVENTS_SENT = Counter(
    "esteira_events_sent_total",
    "Events that Redis took: live for the web app's clients, node for a Node server's.",
    ("channel",),
)
EVENTS_LOST = Counter(
    "esteira_events_lost_total",
    "Events that nobody heard of, for more than EVENT_HISTORY waited for Redis.",
    ("channel",),
)
EVENTS_WAITING = Gauge("esteira_events_waiting", "Events that wait in their processes for Redis.", ("channel",))
SOCKET_CLIENTS = Gauge("esteira_socket_clients", "Socket.IO clients that are connected.")
WEBHOOK_ATTEMPTS = Counter(
    "esteira_webhook_attempts_total",
    "Attempts to hand an event to an endpoint: delivered, failed (made again later), undelivered (given up).",
    ("endpoint", "outcome"),
)
STAGE_SECONDS = Histogram(
    "esteira_stage_duration_seconds",
    "How long a stage took that went well.",
    ("stage",),
    (*SHORT_BUCKETS_S, 30.0, 60.0),
)
SCAN_SECONDS = Histogram(
    "esteira_antivirus_duration_seconds", "How long a scan took that found nothing.", (), (*SHORT_BUCKETS_S, 30.0, 60.0)
)
PREVIEW_SECONDS = Histogram(
    "esteira_preview_duration_seconds",
    "How long it took to make a preview.",
    ("outcome",),
    (*SHORT_BUCKETS_S, 30.0, 60.0),
)
TOTAL_SECONDS = Histogram(
    "esteira_whole_duration_seconds", "From received to finished, at the first go.", ("status",), LONG_BUCKETS_S
)
HOOK_SECONDS = Histogram(
    "esteira_hook_duration_seconds", "From a hook's request to its answer.", ("gateway", "status"), SHORT_BUCKETS_S
)

COUNTERS = (
    *(ATTEMPTS, RETRIES, RESULTS, STORED_BYTES, DEDUPLICATED_BYTES, NOT_DOWNLOADED_BYTES, REQUEUED, TAKEN_OVER),
    *(SANDBOX_STARTS, SANDBOX_DEATHS, SCANS, CIRCUIT_OPENINGS, EVENTS_SENT, EVENTS_LOST, WEBHOOK_ATTEMPTS, PREVIEWS),
)
GAUGES = (EVENTS_WAITING, SOCKET_CLIENTS)
HISTOGRAMS = (STAGE_SECONDS, SCAN_SECONDS, TOTAL_SECONDS, HOOK_SECONDS, PREVIEW_SECONDS)
