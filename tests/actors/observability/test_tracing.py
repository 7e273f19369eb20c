"""Tracing is off without an endpoint, and never makes an attachment fail."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
from collections.abc import Iterator
from typing import Any

import pytest
from structlog.testing import capture_logs

from actors.observability import tracing
from actors.observability.otel import span_ids
from pipeline.history import Attempt, HistoryOutcome
from pipeline.models import Record, Stage, Status

ID = "0af7651916cd43dd8448eb211c80319c"
RECORD = Record(
    id=ID, gateway="media", session="s", message_id="m", part=0, status=Status.DONE, stage=Stage.FETCH, received_at=1
)
ATTEMPT = Attempt("fetch", 1, 1.0, 1.0, HistoryOutcome.DONE)


@pytest.fixture(autouse=True)
def _tracing_off(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    for name in [name for name in os.environ if name.startswith("OTEL_")]:
        monkeypatch.delenv(name)
    tracing.stop_tracing()
    yield
    tracing.stop_tracing()


def test_opentelemetry_is_not_imported_without_an_endpoint() -> None:
    # redis-py imports opentelemetry.sdk.metrics itself if it is installed.
    ours = ("opentelemetry.sdk.trace", "opentelemetry.exporter", "google.protobuf", "actors.observability.otel")
    program = (
        f"import sys, actors.stages, esteira.web.app\nprint([name for name in sys.modules if name.startswith({ours})])"
    )
    env = {name: value for name, value in os.environ.items() if not name.startswith("OTEL_")}
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, env=env, check=True)
    assert done.stdout.strip() == "[]"


def test_tracing_without_an_endpoint_starts_no_thread_and_times_nothing() -> None:
    before = threading.active_count()
    tracing.start_tracing(str)
    timer = tracing.phase_timer()
    timer.mark("accept")
    tracing.record_attempt(RECORD, ATTEMPT)
    assert (timer.ends, threading.active_count()) == ([], before)


def test_unsupported_protocol_is_logged(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", "http://127.0.0.1:1")
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_PROTOCOL", "grpc")
    with capture_logs() as lines:
        tracing.start_tracing(str)
    assert [line["protocol"] for line in lines] == ["grpc"]
    assert tracing.phase_timer().ends == []


def test_error_in_the_tracer_is_logged_and_not_raised(monkeypatch: pytest.MonkeyPatch) -> None:
    class Broken:
        def record_attempt(self, *_: Any) -> None:
            raise KeyError("s3cret")

    monkeypatch.setattr(tracing._Process, "tracer", Broken())
    with capture_logs() as lines:
        tracing.record_attempt(RECORD, ATTEMPT)
    monkeypatch.setattr(tracing._Process, "tracer", None)
    assert "s3cret" not in repr(lines)
    assert [line["error"] for line in lines] == ["KeyError"]


def test_first_run_has_the_attachments_id_and_replays_have_their_own() -> None:
    assert span_ids(ID, 0)[0] == int(ID, 16)
    found = {span_ids(ID, run) for run in range(5)}
    assert len({trace for trace, _ in found}) == len({span for _, span in found}) == 5
    assert all(0 < trace < 2**128 and 0 < span < 2**64 for trace, span in found)
    assert span_ids("0" * 32, 0)[0] != 0
