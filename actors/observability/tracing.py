"""Traces from the hook to the result event, if an OTLP endpoint is set; without one, every function returns at once.

An attachment's trace has the attachment's id, and the id of its root span is derived from it. So every process creates
spans of the same trace without passing a context along. The OpenTelemetry code is in `actors.observability.otel`, which
is imported only if an endpoint is set, because that import takes half a second.
"""

from __future__ import annotations

import importlib
import os
from collections.abc import Callable, Sequence
from contextvars import ContextVar
from typing import Any

import structlog

from actors.observability.tracer import ENDPOINT_VARIABLES, NullTimer, PhaseTimer, Tracer
from pipeline.extras import install_command, is_installed
from pipeline.history import Attempt, HistoryEntry
from pipeline.models import Attachment, Record

PROTOCOL_VARIABLES = ("OTEL_EXPORTER_OTLP_TRACES_PROTOCOL", "OTEL_EXPORTER_OTLP_PROTOCOL")
SUPPORTED_PROTOCOL = "http/protobuf"

# The `traceparent` header of the request that hands an attachment over: the hook's span links to that trace.
CALLER_TRACEPARENT: ContextVar[str | None] = ContextVar("traceparent", default=None)

log = structlog.get_logger()


class _Process:
    """The tracer of this process; None while tracing is off."""

    tracer: Tracer | None = None


_NULL_TIMER = NullTimer()


def start_tracing(scrub: Callable[[Any], Any]) -> None:
    """Starts tracing if the environment names an endpoint. `scrub` removes the secrets from a text."""
    if _Process.tracer is not None or not _is_enabled():
        return
    if protocol := _unsupported_protocol():
        remedy = f"set it to {SUPPORTED_PROTOCOL}"
        log.warning("tracing disabled: OTLP protocol not supported", protocol=protocol, remedy=remedy)
        return
    if not is_installed("otel"):
        log.warning("tracing disabled: the extra `otel` is not installed", remedy=install_command("otel"))
        return
    try:
        _Process.tracer = importlib.import_module("actors.observability.otel").OpenTelemetryTracer(scrub)
    except (ValueError, OSError) as error:  # only the type: the message may contain a variable's value
        log.warning("tracing disabled: an OTEL_ variable is invalid", error=type(error).__name__)


def phase_timer() -> PhaseTimer:
    """A timer for one `process_media()` call."""
    return PhaseTimer() if _Process.tracer else _NULL_TIMER


def record_intake(attachment: Attachment, mode: str, timer: PhaseTimer) -> None:
    """Records that a listener or a gateway has handed this attachment over."""
    if timer is not _NULL_TIMER:
        _record(lambda tracer: tracer.record_intake(attachment, mode, timer, CALLER_TRACEPARENT.get()))


def record_attempt(record: Record, attempt: Attempt | None) -> None:
    """Records a finished attempt at a stage; None (an attempt that is not part of the history) is ignored."""
    if attempt and _Process.tracer:  # checked before the lambda is made: this runs for every stage of every file
        _record(lambda tracer: tracer.record_attempt(record, attempt))


def record_crashes(record: Record, stage: str, crashes: int) -> None:
    """Records how many workers have crashed while they processed this attachment."""
    _record(lambda tracer: tracer.record_crashes(record, stage, crashes))


def record_result(record: Record, history: Callable[[str], Sequence[HistoryEntry]]) -> None:
    """Records the end of a run. `history` returns an attachment's history, which has the start time of a replay."""
    if _Process.tracer is None:
        return

    def write(tracer: Tracer) -> None:
        replays = (entry.at for entry in history(record.id) if entry.run == record.run) if record.run else ()
        tracer.record_result(record, min(replays, default=record.received_at))

    _record(write)


def stop_tracing(*, timeout_s: float = 2.0) -> None:
    """Sends the remaining spans within `timeout_s`, and switches tracing off."""
    tracer, _Process.tracer = _Process.tracer, None
    if tracer:
        tracer.shutdown(timeout_s=timeout_s)


def _record(write: Callable[[Tracer], None]) -> None:
    if _Process.tracer is None:
        return
    try:
        write(_Process.tracer)
    except Exception as error:  # noqa: BLE001  (third-party code: an attachment must not fail because of its trace)
        log.warning("span not recorded", error=type(error).__name__)


def _is_enabled() -> bool:
    disabled = (
        os.environ.get("OTEL_SDK_DISABLED", "").lower() == "true" or os.environ.get("OTEL_TRACES_EXPORTER") == "none"
    )
    return not disabled and any(os.environ.get(name) for name in ENDPOINT_VARIABLES)


def _unsupported_protocol() -> str | None:
    protocols = (os.environ[name] for name in PROTOCOL_VARIABLES if os.environ.get(name))
    protocol = next(protocols, SUPPORTED_PROTOCOL)
    return None if protocol == SUPPORTED_PROTOCOL else protocol
