"""Tracing's seam: nothing where no endpoint is set, no harm where one is."""

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
def untraced(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    for name in [name for name in os.environ if name.startswith("OTEL_")]:
        monkeypatch.delenv(name)
    tracing.stop_tracing()
    yield
    tracing.stop_tracing()


def test_nothing_of_it_is_imported_where_no_endpoint_is_set() -> None:
    # redis-py imports opentelemetry.sdk.metrics wherever that is installed; nothing of ours does.
    ours = ("opentelemetry.sdk.trace", "opentelemetry.exporter", "google.protobuf", "actors.observability.otel")
    program = (
        f"import sys, actors.stages, esteira.web.app\nprint([name for name in sys.modules if name.startswith({ours})])"
    )
    env = {name: value for name, value in os.environ.items() if not name.startswith("OTEL_")}
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, env=env, check=True)
    assert done.stdout.strip() == "[]"


def test_without_an_endpoint_there_is_no_thread_and_no_lap() -> None:
    before = threading.active_count()
    tracing.start_tracing(str)
    laps = tracing.phase_timer()
    laps.mark("accept")
    tracing.record_attempt(RECORD, ATTEMPT)
    assert (laps.ends, threading.active_count()) == ([], before)


def test_a_protocol_that_is_not_spoken_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", "http://127.0.0.1:1")
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_PROTOCOL", "grpc")
    with capture_logs() as said:
        tracing.start_tracing(str)
    assert [line["protocol"] for line in said] == ["grpc"]
    assert tracing.phase_timer().ends == []


def test_no_attachment_fails_for_its_trace(monkeypatch: pytest.MonkeyPatch) -> None:
    class Broken:
        def record_attempt(self, *_: Any) -> None:
            raise KeyError("s3cret")

    monkeypatch.setattr(tracing._Process, "tracer", Broken())
    with capture_logs() as said:
        tracing.record_attempt(RECORD, ATTEMPT)
    monkeypatch.setattr(tracing._Process, "tracer", None)
    assert "s3cret" not in repr(said)
    assert [line["error"] for line in said] == ["KeyError"]


def test_the_first_run_has_the_id_of_its_attachment_and_each_run_its_own() -> None:
    assert span_ids(ID, 0)[0] == int(ID, 16)
    found = {span_ids(ID, run) for run in range(5)}
    assert len({trace for trace, _ in found}) == len({span for _, span in found}) == 5
    assert all(0 < trace < 2**128 and 0 < span < 2**64 for trace, span in found)
    assert span_ids("0" * 32, 0)[0] != 0
