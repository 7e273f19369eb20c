"""A receiver of OTLP/HTTP for tests, on loopback: what a collector would have got."""

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
class Told:
    """A span as it came. Ids are hex, times Unix nanoseconds; `service` is what sent it."""

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
    """What came in so far. `status` is what it answers."""

    url: str = ""
    spans: list[Told] = field(default_factory=list)
    bodies: list[bytes] = field(default_factory=list)
    headers: list[dict[str, str]] = field(default_factory=list)
    status: int = 200

    def of(self, trace: str) -> list[Told]:
        """The spans of one trace, by their beginnings."""
        return sorted((span for span in self.spans if span.trace == trace), key=lambda span: span.begin)

    def take(self, body: bytes) -> None:
        self.bodies.append(body)
        asked = ExportTraceServiceRequest.FromString(body)
        for resource in asked.resource_spans:
            service = {one.key: one.value.string_value for one in resource.resource.attributes}["service.name"]
            self.spans += [_told(span, service) for scope in resource.scope_spans for span in scope.spans]


def _told(span: Any, service: str) -> Told:
    return Told(
        name=span.name,
        trace=span.trace_id.hex(),
        id=span.span_id.hex(),
        parent=span.parent_span_id.hex(),
        begin=span.start_time_unix_nano,
        end=span.end_time_unix_nano,
        attributes={one.key: getattr(one.value, one.value.WhichOneof("value")) for one in span.attributes},
        failed=span.status.code == 2,
        message=span.status.message,
        links=[link.trace_id.hex() for link in span.links],
        service=service,
    )


@contextmanager
def otlp_receiver() -> Iterator[Receiver]:
    """One that runs for the length of the block, at `url`."""
    receiver = Receiver()

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"]))
            receiver.headers.append(dict(self.headers))
            if receiver.status == 200 and self.path == "/v1/traces":
                receiver.take(gzip.decompress(body) if self.headers["Content-Encoding"] == "gzip" else body)
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
