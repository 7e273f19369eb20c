"""A Graph API for tests, on loopback: media ids that lead to files, for whoever shows the token."""

from __future__ import annotations

import json
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from tests.support.media_server import Answer, Request

VERSION = "v23.0"
MALFORMED = {"error": {"message": "Malformed access token EAAx", "type": "OAuthException", "code": 190}}
UNKNOWN = {
    "error": {
        "message": "Unsupported get request. Object with ID '1' does not exist, cannot be loaded due to missing "
        "permissions, or does not support this operation",
        "type": "GraphMethodException",
        "code": 100,
        "error_subcode": 33,
    }
}


class GraphServer:
    """Knows `files` by media id. `links` by id are URLs to give out instead of its own, `answers` whole answers."""

    def __init__(self, files: dict[str, bytes] | None = None, *, token: str = "EAAtest") -> None:
        self.files = dict(files or {})
        self.token = token
        self.links: dict[str, Any] = {}
        self.answers: dict[str, Answer] = {}
        self.requests: list[Request] = []
        self._server = _Server(("127.0.0.1", 0), self)
        self.origin = f"http://127.0.0.1:{self._server.server_address[1]}"

    @property
    def url(self) -> str:
        """What CLOUD_GRAPH_URL is to be."""
        return f"{self.origin}/{VERSION}"

    def answer(self, request: Request) -> Answer:
        self.requests.append(request)
        *_, place, name = request.path.partition("?")[0].split("/")
        if name in self.answers:
            return self.answers[name]
        if request.headers.get("authorization") != f"Bearer {self.token}":
            return said(401, MALFORMED)
        if name not in self.files:
            return said(400, UNKNOWN)
        if place == "bytes":
            return Answer(body=self.files[name])
        link = self.links.get(name, f"{self.origin}/bytes/{name}?ext=1&hash=ARmu")
        about = {"id": name, "url": link, "file_size": str(len(self.files[name])), "messaging_product": "whatsapp"}
        return said(200, about)

    def __enter__(self) -> GraphServer:
        self._thread = threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join(5)


def said(status: int, content: Any, **headers: str) -> Answer:
    """An answer with this JSON; headers with `_` for `-`."""
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    return Answer(status, {"Content-Type": "application/json", **named}, json.dumps(content).encode())


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    block_on_close = False

    def __init__(self, address: tuple[str, int], graph: GraphServer) -> None:
        self.graph = graph
        super().__init__(address, _Handler)


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    timeout = 30
    server: _Server

    def do_GET(self) -> None:
        headers = {name.lower(): value for name, value in self.headers.items()}
        answer = self.server.graph.answer(Request("GET", self.path, headers))
        self.send_response(answer.status)
        for name, value in {**answer.headers, "Content-Length": str(len(answer.body))}.items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(answer.body)

    def log_message(self, *_: object) -> None:
        """Says nothing."""
