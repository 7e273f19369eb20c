"""An OTLP/HTTP receiver for tests, on loopback."""

from __future__ import annotations

import gzip
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest


@dataclass(frozen=True)
class ReceivedSpan:
    """A received span. Ids are hex, times Unix nanoseconds; `service`: the service name of the sender."""

    name: str
    trace: str
    id: str
    parent: str
    begin: int
    end: int
    attributes: dict[str, Any]
    failed: bool
    message: str
    links: list[str]
    service: str


@dataclass
class Receiver:
    """Everything received so far. `status`: the status of its responses."""

    url: str = ""
    spans: list[ReceivedSpan] = field(default_factory=list)
    bodies: list[bytes] = field(default_factory=list)
    headers: list[dict[str, str]] = field(default_factory=list)
    status: int = 200

    def of(self, trace: str) -> list[ReceivedSpan]:
        """Returns the spans of one trace, ordered by start time."""
        return sorted((span for span in self.spans if span.trace == trace), key=lambda span: span.begin)

    def add(self, body: bytes) -> None:
        self.bodies.append(body)
        request = ExportTraceServiceRequest.FromString(body)
        for resource in request.resource_spans:
            service = {attribute.key: attribute.value.string_value for attribute in resource.resource.attributes}[
                "service.name"
            ]
            self.spans += [_read_span(span, service) for scope in resource.scope_spans for span in scope.spans]


def _read_span(span: Any, service: str) -> ReceivedSpan:
    return ReceivedSpan(
        name=span.name,
        trace=span.trace_id.hex(),
        id=span.span_id.hex(),
        parent=span.parent_span_id.hex(),
        begin=span.start_time_unix_nano,
        end=span.end_time_unix_nano,
        attributes={
            attribute.key: getattr(attribute.value, attribute.value.WhichOneof("value"))
            for attribute in span.attributes
        },
        failed=span.status.code == 2,
        message=span.status.message,
        links=[link.trace_id.hex() for link in span.links],
        service=service,
    )


@contextmanager
def otlp_receiver() -> Iterator[Receiver]:
    """Runs a receiver during the block."""
    receiver = Receiver()

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"]))
            receiver.headers.append(dict(self.headers))
            if receiver.status == 200 and self.path == "/v1/traces":
                receiver.add(gzip.decompress(body) if self.headers["Content-Encoding"] == "gzip" else body)
            self.send_response(receiver.status)
            self.send_header("Content-Length", "0")
            self.end_headers()

        def log_message(self, *_: Any) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    receiver.url = f"http://127.0.0.1:{server.server_address[1]}"
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield receiver
    finally:
        server.shutdown()
        server.server_close()
