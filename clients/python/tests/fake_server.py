"""A server whose answers the tests choose."""

from __future__ import annotations

import json
import time
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

ACCEPTED = {"accepted": [{"id": "a" * 32, "message_id": "m1", "status": "received"}], "ignored": 0}
TOKEN = "a-token-of-the-tests"


@dataclass
class FakeServer:
    """Answers each request with the next of `answers` (the last one stays), after `delay_s`, and keeps the requests."""

    port: int
    answers: list[tuple[int, dict[str, str], bytes]] = field(default_factory=list)
    requests: list[dict[str, Any]] = field(default_factory=list)
    delay_s: float = 0.0

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def answer(self, status: int, body: Any = ACCEPTED, **headers: str) -> None:
        """Replaces the answers by this one."""
        self.answers = []
        self.then(status, body, **headers)

    def then(self, status: int, body: Any = ACCEPTED, **headers: str) -> None:
        """Adds an answer. Underscores in names of headers become hyphens."""
        content = body if isinstance(body, bytes) else json.dumps(body).encode()
        self.answers.append((status, {name.replace("_", "-"): value for name, value in headers.items()}, content))

    def refuse(self, status: int, code: str, **headers: str) -> None:
        """Answers with an error of Esteira."""
        self.answer(status, {"error": {"code": code, "message": "says why"}}, **headers)

    def bodies(self) -> list[Any]:
        return [json.loads(request["body"]) for request in self.requests]


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    fake: FakeServer

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        headers = {name.lower(): value for name, value in self.headers.items()}
        self.fake.requests.append({"path": self.path, "headers": headers, "body": body})
        time.sleep(self.fake.delay_s)
        status, own, content = self.fake.answers[0]
        if len(self.fake.answers) > 1:
            del self.fake.answers[0]
        self.send_response(status)
        for name, value in own.items():
            self.send_header(name, value)
        if "Content-Length" not in own:
            self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)
        self.close_connection = "Content-Length" in own

    do_GET = do_POST  # noqa: N815  the name that http.server calls

    def log_message(self, *_: object) -> None:
        """Logs nothing."""


class Server(ThreadingHTTPServer):
    daemon_threads = True
    block_on_close = False

    def handle_error(self, *_: object) -> None:
        """Ignores clients that disconnected."""
