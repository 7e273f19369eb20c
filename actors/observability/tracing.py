"""Traces from the hook to the announcement, where an endpoint is set for them; nothing at all where none is.

The trace of an attachment has its id, the span that holds all others an id made of it. So whoever works on it makes
spans of the same trace, and nothing has to travel along with it. What speaks OpenTelemetry stands in
`actors.observability.otel`, which is imported only where an endpoint is set: it takes half a second.
"""

from __future__ import annotations

import importlib
import os
import time
from collections.abc import Callable, Sequence
from contextvars import ContextVar
from typing import Any, Protocol

import structlog

from pipeline.history import Attempt, HistoryEntry
from pipeline.models import Attachment, Record

ENDPOINTS = ("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", "OTEL_EXPORTER_OTLP_ENDPOINT")
PROTOCOLS = ("OTEL_EXPORTER_OTLP_TRACES_PROTOCOL", "OTEL_EXPORTER_OTLP_PROTOCOL")
SPOKEN = "http/protobuf"

# What the request that hands something over says of the trace that it belongs to itself.
CALLER: ContextVar[str | None] = ContextVar("traceparent", default=None)

log = structlog.get_logger()


class PhaseTimer:
    """Parts of a hand-over with the Unix nanoseconds of their ends; the first begins when this is made."""

    def __init__(self) -> None:
        self.began = time.time_ns()
        self.ends: list[tuple[str, int]] = []

    def mark(self, name: str) -> None:
        """The part of this name is over."""
        self.ends.append((name, time.time_ns()))


class NullTimer(PhaseTimer):
    """Where nobody wants to know."""

    def mark(self, name: str) -> None:
        pass


class Traces(Protocol):
    """What makes spans of what happens. None of it waits for anybody, and none of it raises."""

    def handed_over(self, attachment: Attachment, mode: str, laps: PhaseTimer, caller: str | None) -> None: ...

    def attempted(self, record: Record, attempt: Attempt) -> None: ...

    def taken_over(self, record: Record, stage: str, crashes: int) -> None: ...

    def ended(self, record: Record, began: int) -> None: ...

    def close(self, *, within_s: float) -> None: ...


class _Process:
    """What this process traces with: nothing until it is told otherwise."""

    traces: Traces | None = None


_NO_LAPS = NullTimer()


def begin(scrub: Callable[[Any], Any]) -> None:
    """Traces from now on if the environment names an endpoint. `scrub` hides the secrets in a text."""
    if _Process.traces is not None or not _is_wanted():
        return
    if wrong := _unspoken():
        log.warning("no traces: this protocol is not spoken", protocol=wrong, remedy=f"let it be {SPOKEN}")
        return
    try:
        _Process.traces = importlib.import_module("actors.observability.otel").OpenTelemetry(scrub)
    except (ValueError, OSError) as error:  # its words may show what the variables hold
        log.warning("no traces: a variable of OTEL_… is wrong", error=type(error).__name__)


def laps() -> PhaseTimer:
    """For one hand-over."""
    return PhaseTimer() if _Process.traces else _NO_LAPS


def handed_over(attachment: Attachment, mode: str, laps: PhaseTimer) -> None:
    """A listener or a gateway has handed this over."""
    if laps is not _NO_LAPS:
        _tell(lambda traces: traces.handed_over(attachment, mode, laps, CALLER.get()))


def attempted(record: Record, attempt: Attempt | None) -> None:
    """An attempt at a stage is over; None stands for one that is not worth telling."""
    if attempt and _Process.traces:  # asked first: this is for every stage of every file
        _tell(lambda traces: traces.attempted(record, attempt))


def taken_over(record: Record, stage: str, crashes: int) -> None:
    """So many workers have died while they held it."""
    _tell(lambda traces: traces.taken_over(record, stage, crashes))


def ended(record: Record, history: Callable[[str], Sequence[HistoryEntry]]) -> None:
    """Nothing is left to do. `history` tells when a run began that is not the first."""
    if _Process.traces is None:
        return

    def tell(traces: Traces) -> None:
        replayed = (entry.at for entry in history(record.id) if entry.run == record.run) if record.run else ()
        traces.ended(record, min(replayed, default=record.received_at))

    _tell(tell)


def close(*, within_s: float = 2.0) -> None:
    """Sends what has not been sent yet, in so many seconds at most."""
    traces, _Process.traces = _Process.traces, None
    if traces:
        traces.close(within_s=within_s)


def _tell(told: Callable[[Traces], None]) -> None:
    if _Process.traces is None:
        return
    try:
        told(_Process.traces)
    except Exception as error:  # noqa: BLE001  (the edge to what others wrote: no attachment fails for its trace)
        log.warning("not traced", error=type(error).__name__)


def _is_wanted() -> bool:
    off = os.environ.get("OTEL_SDK_DISABLED", "").lower() == "true" or os.environ.get("OTEL_TRACES_EXPORTER") == "none"
    return not off and any(os.environ.get(name) for name in ENDPOINTS)


def _unspoken() -> str | None:
    asked = next((os.environ[name] for name in PROTOCOLS if os.environ.get(name)), SPOKEN)
    return None if asked == SPOKEN else asked
