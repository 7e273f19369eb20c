"""Spans as OpenTelemetry has them, sent over OTLP/HTTP. To be imported only where somebody wants them: it is slow."""

from __future__ import annotations

import atexit
import hashlib
import logging
import os
import re
import threading
from collections.abc import Callable, Mapping, Sequence
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
    Status,
    StatusCode,
    TraceFlags,
    get_current_span,
    set_span_in_context,
)

from actors.observability.tracing import ENDPOINTS, PhaseTimer
from pipeline.history import Attempt, HistoryOutcome
from pipeline.models import Attachment, Record
from pipeline.models import Status as EndpointStats

SERVICE = "esteira"
ROOT = "attachment"
WELL = frozenset({HistoryOutcome.DONE, HistoryOutcome.WAITS})
TRACEPARENT = re.compile(r"[0-9a-f]{2}-([0-9a-f]{32})-([0-9a-f]{16})-([0-9a-f]{2})(?:-.*)?", re.ASCII)
# They tell what the variables hold, such as a token among the headers, and every failure; we tell the first.
TALKATIVE = ("opentelemetry.exporter.otlp", "opentelemetry.sdk._shared_internal", "opentelemetry.util.re")

Facts = Mapping[str, str | int | None]

log = structlog.get_logger()


class OpenTelemetry:
    """Spans of this process. The variables of OTEL_… say where they go, under what name and how many of them.

    Raises:
        ValueError: one of the variables is wrong.
    """

    def __init__(self, scrub: Callable[[Any], Any]) -> None:
        for name in TALKATIVE:
            logging.getLogger(name).setLevel(logging.CRITICAL + 1)
        self._scrub = scrub
        self._ids = Ids()
        self._provider = TracerProvider(resource=_resource(), id_generator=self._ids, shutdown_on_exit=False)
        self._provider.add_span_processor(BatchSpanProcessor(Exporter(OTLPSpanExporter())))
        self._tracer = self._provider.get_tracer(SERVICE)
        atexit.register(self.close)

    def handed_over(self, attachment: Attachment, mode: str, laps: PhaseTimer, caller: str | None) -> None:
        """The hook's span, with a span for each of its parts, and a link to the trace that the caller is in."""
        facts = {"session": attachment.session, "kind": attachment.kind, "gateway": attachment.gateway, "mode": mode}
        end = laps.ends[-1][1] if laps.ends else laps.began
        links = [Link(found) for found in (_caller(caller), get_current_span().get_span_context()) if found.is_valid]
        parent = self._within(attachment.id, 0)
        span = self._start("hook", parent, facts, laps.began, kind=SpanKind.SERVER, links=links)
        began = laps.began
        for name, at in laps.ends:
            self._start(name, set_span_in_context(span), {}, began).end(at)
            began = at
        span.end(end)

    def attempted(self, record: Record, attempt: Attempt) -> None:
        """The span of an attempt at a stage."""
        began = int(attempt.began * 1e9)
        facts = {
            "stage": attempt.stage,
            "attempt": attempt.number,
            "outcome": attempt.outcome,
            "code": attempt.code,
            **_facts(record),
        }
        span = self._start(attempt.stage, self._within(record.id, record.run), facts, began)
        if attempt.outcome not in WELL:
            span.set_status(Status(StatusCode.ERROR, self._said(attempt.code, attempt.message)))
        span.end(began + int(attempt.ms * 1e6))

    def taken_over(self, record: Record, stage: str, crashes: int) -> None:
        """A span without a length, where another worker goes on after a death."""
        facts = {"stage": stage, "crashes": crashes, "outcome": HistoryOutcome.CRASHED, **_facts(record)}
        span = self._start("crashed", self._within(record.id, record.run), facts, None)
        span.set_status(Status(StatusCode.ERROR, "a worker died while it held it"))
        span.end()

    def ended(self, record: Record, began: int) -> None:
        """The span that holds all others, from `began` (Unix ms) to its last word."""
        facts = {"status": record.status, "code": record.error_code, "size": record.size, **_facts(record)}
        with self._ids.next_are(*ids_of(record.id, record.run)):
            span = self._start(ROOT, Context(), facts, began * 1_000_000)
        if record.status is not EndpointStats.DONE:
            span.set_status(Status(StatusCode.ERROR, self._said(record.error_code, record.error)))
        span.end((record.finished_at or began) * 1_000_000)

    def close(self, *, within_s: float = 2.0) -> None:
        """Sends what is left; an endpoint that does not answer in time gets none of it."""
        atexit.unregister(self.close)
        sending = threading.Thread(target=self._provider.shutdown, name="traces", daemon=True)
        sending.start()
        sending.join(within_s)

    def _start(self, name: str, parent: Context, facts: Facts, began: int | None, **more: Any) -> Span:
        told = {f"esteira.{key}": str(value) if isinstance(value, str) else value for key, value in facts.items()}
        known = {key: value for key, value in told.items() if value is not None}
        return self._tracer.start_span(name, context=parent, attributes=known, start_time=began, **more)

    def _within(self, media_id: str, run: int) -> Context:
        trace_id, span_id = ids_of(media_id, run)
        # The span that holds all others is written last and elsewhere; whether it is sampled comes out here as there.
        decision = self._provider.sampler.should_sample(None, trace_id, ROOT).decision
        sampled = decision is Decision.RECORD_AND_SAMPLE
        flags = TraceFlags(TraceFlags.SAMPLED if sampled else TraceFlags.DEFAULT)
        return set_span_in_context(NonRecordingSpan(SpanContext(trace_id, span_id, True, flags)))

    def _said(self, code: str | None, message: str | None) -> str:
        return str(self._scrub(": ".join(part for part in (code, message) if part)))


class Ids(RandomIdGenerator):
    """Ids by chance, but for the spans that whoever makes them names beforehand, in the same thread."""

    def __init__(self) -> None:
        self._given = threading.local()

    def next_are(self, trace_id: int, span_id: int) -> _Given:
        """The ids of the span that is started within the block."""
        return _Given(self._given, (trace_id, span_id))

    def generate_trace_id(self) -> int:
        given = getattr(self._given, "ids", None)
        return given[0] if given else super().generate_trace_id()

    def generate_span_id(self) -> int:
        given = getattr(self._given, "ids", None)
        return given[1] if given else super().generate_span_id()


class _Given:
    def __init__(self, place: threading.local, ids: tuple[int, int]) -> None:
        self._place = place
        self._ids = ids

    def __enter__(self) -> None:
        self._place.ids = self._ids

    def __exit__(self, *_: object) -> None:
        self._place.ids = None


class Exporter(SpanExporter):
    """Sends spans, and says once that it cannot and once that it can again."""

    def __init__(self, inner: SpanExporter) -> None:
        self._inner = inner
        self._failing = False

    def export(self, spans: Sequence[ReadableSpan]) -> SpanExportResult:
        try:
            result = self._inner.export(spans)
        except Exception:  # noqa: BLE001  (the edge of its thread: whatever it is, it must not end the sending)
            result = SpanExportResult.FAILURE
        failing = result is not SpanExportResult.SUCCESS
        if failing and not self._failing:
            log.warning("traces cannot be sent", host=_host(), remedy="the work goes on without them")
        elif self._failing and not failing:
            log.info("traces are sent again", host=_host())
        self._failing = failing
        return result

    def shutdown(self) -> None:
        self._inner.shutdown()


def ids_of(media_id: str, run: int) -> tuple[int, int]:
    """The ids of an attachment's trace and of the span that holds all others. The first run's trace has its own id."""
    digest = hashlib.sha256(f"{media_id}:{run}".encode()).digest()
    trace_id = int.from_bytes(digest[:16], "big") if run else int(media_id, 16)
    return trace_id or 1, int.from_bytes(digest[16:24], "big") or 1


def _resource() -> Resource:
    """What the environment says of this service; its name is ours where it says none."""
    found = Resource.create()
    unnamed = str(found.attributes[SERVICE_NAME]).startswith("unknown_service")
    return found.merge(Resource({SERVICE_NAME: SERVICE})) if unnamed else found


def _facts(record: Record) -> dict[str, str | int | None]:
    return {"id": record.id, "run": record.run, "session": record.session, "kind": record.kind}


def _caller(traceparent: str | None) -> SpanContext:
    found = TRACEPARENT.fullmatch(traceparent or "")
    if not found:
        return INVALID_SPAN_CONTEXT
    return SpanContext(int(found[1], 16), int(found[2], 16), True, TraceFlags(int(found[3], 16)))


def _host() -> str:
    """Whom the spans go to, without what may be a secret in its URL."""
    url = next((os.environ[name] for name in ENDPOINTS if os.environ.get(name)), "")
    try:
        parts = urlsplit(url)
        return f"{parts.hostname}:{parts.port}" if parts.port else str(parts.hostname)
    except ValueError:
        return "unknown"
