"""OpenTelemetry spans, sent over OTLP/HTTP. Imported only if tracing is on: the import takes half a second."""

from __future__ import annotations

import atexit
import hashlib
import logging
import os
import re
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any
from urllib.parse import urlsplit

import structlog
from opentelemetry.context import Context
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.resources import SERVICE_NAME, Resource
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor, SpanExporter, SpanExportResult
from opentelemetry.sdk.trace.id_generator import RandomIdGenerator
from opentelemetry.sdk.trace.sampling import Decision
from opentelemetry.trace import (
    INVALID_SPAN_CONTEXT,
    Link,
    NonRecordingSpan,
    Span,
    SpanContext,
    SpanKind,
    StatusCode,
    TraceFlags,
    get_current_span,
    set_span_in_context,
)
from opentelemetry.trace import Status as SpanStatus

from actors.observability.tracer import ENDPOINT_VARIABLES, PhaseTimer
from pipeline.history import Attempt, HistoryOutcome
from pipeline.models import Attachment, Record, Status

SERVICE = "esteira"
ROOT_SPAN = "attachment"
OK_OUTCOMES = frozenset({HistoryOutcome.DONE, HistoryOutcome.WAITS})
TRACEPARENT = re.compile(r"[0-9a-f]{2}-([0-9a-f]{32})-([0-9a-f]{16})-([0-9a-f]{2})(?:-.*)?", re.ASCII)
# These loggers print the variables' values, such as a token among the headers, and every failed export.
SILENCED_LOGGERS = ("opentelemetry.exporter.otlp", "opentelemetry.sdk._shared_internal", "opentelemetry.util.re")

Attributes = Mapping[str, str | int | None]

log = structlog.get_logger()


class OpenTelemetryTracer:
    """Creates and sends the spans of this process, as the OTEL_ environment variables say.

    Raises:
        ValueError: a variable is invalid.
    """

    def __init__(self, scrub: Callable[[Any], Any]) -> None:
        for name in SILENCED_LOGGERS:
            logging.getLogger(name).setLevel(logging.CRITICAL + 1)
        self._scrub = scrub
        self._ids = PresetIdGenerator()
        self._provider = TracerProvider(resource=_resource(), id_generator=self._ids, shutdown_on_exit=False)
        self._provider.add_span_processor(BatchSpanProcessor(LoggingExporter(OTLPSpanExporter())))
        self._tracer = self._provider.get_tracer(SERVICE)
        atexit.register(self.shutdown)

    def record_intake(self, attachment: Attachment, mode: str, timer: PhaseTimer, traceparent: str | None) -> None:
        """Writes the hook's span, a child span for each of its phases, and links to the caller's trace."""
        attributes = {
            "session": attachment.session,
            "kind": attachment.kind,
            "gateway": attachment.gateway,
            "mode": mode,
        }
        callers = (_parse_traceparent(traceparent), get_current_span().get_span_context())
        links = [Link(context) for context in callers if context.is_valid]
        parent = self._root_context(attachment.id, 0)
        span = self._start("hook", parent, attributes, timer.started_at, kind=SpanKind.SERVER, links=links)
        started_at = timer.started_at
        for name, ended_at in timer.ends:
            self._start(name, set_span_in_context(span), {}, started_at).end(ended_at)
            started_at = ended_at
        span.end(started_at)

    def record_attempt(self, record: Record, attempt: Attempt) -> None:
        """Writes the span of an attempt at a stage."""
        started_at = int(attempt.began * 1e9)
        attributes = {
            "stage": attempt.stage,
            "attempt": attempt.number,
            "outcome": attempt.outcome,
            "code": attempt.code,
            **_record_attributes(record),
        }
        span = self._start(attempt.stage, self._root_context(record.id, record.run), attributes, started_at)
        if attempt.outcome not in OK_OUTCOMES:
            span.set_status(SpanStatus(StatusCode.ERROR, self._description(attempt.code, attempt.message)))
        span.end(started_at + int(attempt.ms * 1e6))

    def record_crashes(self, record: Record, stage: str, crashes: int) -> None:
        """Writes a span of zero length at the point where another worker continues after a crash."""
        attributes = {
            "stage": stage,
            "crashes": crashes,
            "outcome": HistoryOutcome.CRASHED,
            **_record_attributes(record),
        }
        span = self._start("crashed", self._root_context(record.id, record.run), attributes, None)
        span.set_status(SpanStatus(StatusCode.ERROR, "the worker crashed while it processed this attachment"))
        span.end()

    def record_result(self, record: Record, started_at: int) -> None:
        """Writes the root span of a run, which began at `started_at` (Unix ms)."""
        attributes = {
            "status": record.status,
            "code": record.error_code,
            "size": record.size,
            **_record_attributes(record),
        }
        with self._ids.preset(*span_ids(record.id, record.run)):
            span = self._start(ROOT_SPAN, Context(), attributes, started_at * 1_000_000)
        if record.status is not Status.DONE:
            span.set_status(SpanStatus(StatusCode.ERROR, self._description(record.error_code, record.error)))
        span.end((record.finished_at or started_at) * 1_000_000)

    def shutdown(self, *, timeout_s: float = 2.0) -> None:
        """Sends the remaining spans; those that the endpoint does not accept within `timeout_s` are lost."""
        atexit.unregister(self.shutdown)
        sending = threading.Thread(target=self._provider.shutdown, name="traces", daemon=True)
        sending.start()
        sending.join(timeout_s)

    def _start(
        self, name: str, parent: Context, attributes: Attributes, started_at: int | None, **options: Any
    ) -> Span:
        known = {
            f"esteira.{key}": str(value) if isinstance(value, str) else value  # str() turns an enum member into text
            for key, value in attributes.items()
            if value is not None
        }
        return self._tracer.start_span(name, context=parent, attributes=known, start_time=started_at, **options)

    def _root_context(self, media_id: str, run: int) -> Context:
        """The root span as a parent, with the sampling decision that will be made when it is written at the end."""
        trace_id, span_id = span_ids(media_id, run)
        decision = self._provider.sampler.should_sample(None, trace_id, ROOT_SPAN).decision
        sampled = decision is Decision.RECORD_AND_SAMPLE
        flags = TraceFlags(TraceFlags.SAMPLED if sampled else TraceFlags.DEFAULT)
        return set_span_in_context(NonRecordingSpan(SpanContext(trace_id, span_id, True, flags)))

    def _description(self, code: str | None, message: str | None) -> str:
        return str(self._scrub(": ".join(part for part in (code, message) if part)))


class PresetIdGenerator(RandomIdGenerator):
    """Random ids, except inside a `preset` block of the same thread."""

    def __init__(self) -> None:
        self._preset = threading.local()

    @contextmanager
    def preset(self, trace_id: int, span_id: int) -> Iterator[None]:
        """The span that is started within the block gets these ids."""
        self._preset.ids = (trace_id, span_id)
        try:
            yield
        finally:
            self._preset.ids = None

    def generate_trace_id(self) -> int:
        ids = getattr(self._preset, "ids", None)
        return ids[0] if ids else super().generate_trace_id()

    def generate_span_id(self) -> int:
        ids = getattr(self._preset, "ids", None)
        return ids[1] if ids else super().generate_span_id()


class LoggingExporter(SpanExporter):
    """Sends spans through another exporter, and logs once when that fails and once when it works again."""

    def __init__(self, exporter: SpanExporter) -> None:
        self._exporter = exporter
        self._failing = False

    def export(self, spans: Sequence[ReadableSpan]) -> SpanExportResult:
        try:
            result = self._exporter.export(spans)
        except Exception:  # noqa: BLE001  (the edge of the exporter's thread, which must go on)
            result = SpanExportResult.FAILURE
        failing = result is not SpanExportResult.SUCCESS
        if failing and not self._failing:
            log.warning("traces cannot be sent", host=_endpoint_host(), consequence="processing continues without")
        elif self._failing and not failing:
            log.info("traces are sent again", host=_endpoint_host())
        self._failing = failing
        return result

    def shutdown(self) -> None:
        self._exporter.shutdown()


def span_ids(media_id: str, run: int) -> tuple[int, int]:
    """The trace id and the root span's id of a run. The first run's trace id is the attachment's own id."""
    digest = hashlib.sha256(f"{media_id}:{run}".encode()).digest()
    trace_id = int.from_bytes(digest[:16], "big") if run else int(media_id, 16)
    return trace_id or 1, int.from_bytes(digest[16:24], "big") or 1


def _resource() -> Resource:
    """The resource that the environment describes; the service is named `esteira` unless it names another."""
    resource = Resource.create()
    unnamed = str(resource.attributes[SERVICE_NAME]).startswith("unknown_service")
    return resource.merge(Resource({SERVICE_NAME: SERVICE})) if unnamed else resource


def _record_attributes(record: Record) -> dict[str, str | int | None]:
    return {"id": record.id, "run": record.run, "session": record.session, "kind": record.kind}


def _parse_traceparent(traceparent: str | None) -> SpanContext:
    match = TRACEPARENT.fullmatch(traceparent or "")
    if not match:
        return INVALID_SPAN_CONTEXT
    return SpanContext(int(match[1], 16), int(match[2], 16), True, TraceFlags(int(match[3], 16)))


def _endpoint_host() -> str:
    """The host and port of the OTLP endpoint; the rest of its URL may contain a secret."""
    url = next((os.environ[name] for name in ENDPOINT_VARIABLES if os.environ.get(name)), "")
    try:
        parts = urlsplit(url)
        return f"{parts.hostname}:{parts.port}" if parts.port else str(parts.hostname)
    except ValueError:
        return "unknown"
