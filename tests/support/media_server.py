"""A correct HTTP file server for tests, on loopback."""

from __future__ import annotations

import ssl
import threading
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import quote

CHUNK_BYTES = 1024 * 1024


@dataclass(frozen=True)
class Request:
    """A request of a client. The names of `headers` are in lower case."""

    method: str
    path: str
    headers: Mapping[str, str]
    body: bytes = b""


@dataclass(frozen=True)
class Answer:
    """A response that replaces the file."""

    status: int = 200
    headers: Mapping[str, str] = field(default_factory=dict)
    body: bytes = b""


class MediaServer:
    """Serves `files` (bytes or paths by name) at `url(name)`, keeps connections alive and remembers `requests`.

    `answers` by name take precedence over `files`. Of a list, each request uses up one answer; the last one stays. Both
    may be changed while the server runs. A POST without an answer gets a 204.
    """

    def __init__(
        self,
        files: Mapping[str, bytes | Path] | None = None,
        *,
        address: str = "127.0.0.1",
        delay_s: float = 0,
        tls: ssl.SSLContext | None = None,
    ) -> None:
        self.files = dict(files or {})
        self.answers: dict[str, Answer | list[Answer]] = {}
        self.requests: list[Request] = []
        self.connections = 0
        self.delay_s = delay_s
        self._tls = tls
        self._server = _Server((address, 0), self)
        self.port: int = self._server.server_address[1]
        self.address = address
        if tls:
            self._server.socket = tls.wrap_socket(self._server.socket, server_side=True, do_handshake_on_connect=False)

    def url(self, name: str, *, host: str | None = None) -> str:
        scheme = "https" if self._tls else "http"
        return f"{scheme}://{host or self.address}:{self.port}/{quote(name)}"

    def hits(self, name: str) -> int:
        """Returns the number of requests for this name."""
        return sum(request.path.partition("?")[0] == f"/{quote(name)}" for request in self.requests)

    def reply(self, request: Request, name: str) -> Answer | None:
        """Returns the response to a request for this name; None serves the file."""
        return self.answer_for(name)

    def answer_for(self, name: str) -> Answer | None:
        answer = self.answers.get(name)
        if isinstance(answer, list):
            return answer.pop(0) if len(answer) > 1 else answer[0]
        return answer

    def __enter__(self) -> MediaServer:
        self._thread = threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join(5)


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    block_on_close = False
    request_queue_size = 128

    def __init__(self, address: tuple[str, int], media: MediaServer) -> None:
        self.media = media
        super().__init__(address, _Handler)

    def handle_error(self, request: object, client_address: object) -> None:
        """Ignores clients that disconnected."""


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    timeout = 30
    server: _Server

    def setup(self) -> None:
        self.server.media.connections += 1
        super().setup()

    def do_GET(self) -> None:
        self._serve()

    def do_POST(self) -> None:
        self._serve(self.rfile.read(int(self.headers.get("Content-Length", 0))))

    def _serve(self, body: bytes = b"") -> None:
        media = self.server.media
        headers = {name.lower(): value for name, value in self.headers.items()}
        request = Request(self.command, self.path, headers, body)
        media.requests.append(request)
        time.sleep(media.delay_s)
        name = self.path.partition("?")[0].removeprefix("/")
        names = {quote(file): file for file in [*media.files, *media.answers]}
        name = names.get(name, name)
        if answer := media.reply(request, name):
            self._respond(answer)
        elif self.command == "POST":
            self._respond(Answer(204))
        elif name in media.files:
            self._serve_file(media.files[name])
        else:
            self._respond(Answer(404))

    def _respond(self, answer: Answer) -> None:
        self.send_response(answer.status)
        for name, value in answer.headers.items():
            self.send_header(name, value)
        if answer.status not in {204, 304}:
            self.send_header("Content-Length", str(len(answer.body)))
        self.end_headers()
        self.wfile.write(answer.body)

    def _serve_file(self, file: bytes | Path) -> None:
        self.send_response(200)
        self.send_header("Content-Length", str(len(file) if isinstance(file, bytes) else file.stat().st_size))
        self.end_headers()
        if isinstance(file, bytes):
            self.wfile.write(file)
            return
        with file.open("rb") as source:
            while chunk := source.read(CHUNK_BYTES):
                self.wfile.write(chunk)

    def log_message(self, *_: object) -> None:
        """Logs nothing."""
