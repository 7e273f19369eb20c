"""The interface between `tracing` and the OpenTelemetry implementation, and the timer that both use."""

from __future__ import annotations

import time
from typing import Protocol

from pipeline.history import Attempt
from pipeline.models import Attachment, Record

# The environment variables that switch tracing on; the first one that is set is used.
ENDPOINT_VARIABLES = ("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", "OTEL_EXPORTER_OTLP_ENDPOINT")


class PhaseTimer:
    """The phases of one `process_media()` call: `started_at`, and each phase's name and end, in Unix nanoseconds."""

    def __init__(self) -> None:
        self.started_at = time.time_ns()
        self.ends: list[tuple[str, int]] = []

    def mark(self, name: str) -> None:
        """Records the end of a phase; the next one starts here."""
        self.ends.append((name, time.time_ns()))


class NullTimer(PhaseTimer):
    """Records nothing: used while tracing is off."""

    def mark(self, name: str) -> None:
        pass


class Tracer(Protocol):
    """Turns events of the pipeline into spans. No method waits for the network."""

    def record_intake(self, attachment: Attachment, mode: str, timer: PhaseTimer, traceparent: str | None) -> None: ...

    def record_attempt(self, record: Record, attempt: Attempt) -> None: ...

    def record_crashes(self, record: Record, stage: str, crashes: int) -> None: ...

    def record_result(self, record: Record, started_at: int) -> None: ...

    def shutdown(self, *, timeout_s: float) -> None: ...
