"""CORS: which pages of other origins may call the API, asked over HTTP and by a real browser."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest
from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import PlainTextResponse
from starlette.routing import Route
from starlette.testclient import TestClient

from esteira.web.server.cross_origin import CrossOrigin
from tests.conftest import missing
from tests.support.browser import CHROMIUM, browser
from tests.support.system import RunningSystem
from tests.support.web_server import TOKEN, web_server

ALLOWED, OTHER = "https://app.example.com", "https://other.example.com"
PREFLIGHT = {"Access-Control-Request-Method": "POST", "Access-Control-Request-Headers": "authorization,content-type"}


@pytest.fixture
def client() -> TestClient:
    async def answer(request: Request) -> PlainTextResponse:
        if "authorization" not in request.headers:
            raise HTTPException(401)
        return PlainTextResponse("answer")

    app = Starlette(routes=[Route("/{path:path}", answer, methods=["GET", "POST"])])
    return TestClient(CrossOrigin(app, (ALLOWED,)))


def test_preflight_of_an_allowed_origin_permits_the_authorization_header(client: TestClient) -> None:
    answer = client.options("/media", headers={"Origin": ALLOWED, **PREFLIGHT})
    assert answer.status_code == 200
    assert answer.headers["access-control-allow-origin"] == ALLOWED
    assert "Authorization" in answer.headers["access-control-allow-headers"]
    assert "DELETE" in answer.headers["access-control-allow-methods"]
    assert "access-control-allow-credentials" not in answer.headers


@pytest.mark.parametrize(
    "origin", [OTHER, "null", ALLOWED + ".evil.example", "http://app.example.com", ALLOWED + ":8443", "*", ""]
)
def test_other_origins_can_neither_preflight_nor_read(client: TestClient, origin: str) -> None:
    preflight = client.options("/media", headers={"Origin": origin, **PREFLIGHT})
    assert preflight.status_code == 400
    assert "access-control-allow-origin" not in preflight.headers
    answer = client.get("/media", headers={"Origin": origin, "Authorization": "Bearer x"})
    assert answer.status_code == 200
    assert "access-control-allow-origin" not in answer.headers


def test_errors_can_be_read_and_caches_keep_answers_apart(client: TestClient) -> None:
    refused = client.get("/media", headers={"Origin": ALLOWED})
    assert (refused.status_code, refused.headers["access-control-allow-origin"]) == (401, ALLOWED)
    assert "Retry-After" in refused.headers["access-control-expose-headers"]
    without = client.get("/media", headers={"Authorization": "Bearer x"})
    assert "access-control-allow-origin" not in without.headers
    assert "Origin" in without.headers["vary"]


@pytest.mark.parametrize(
    "path", ["/", "/login", "/logout", "/preferences", "/dashboard/media", "/socket.io/", "/docs", "/_nicegui/x"]
)
def test_pages_for_logged_in_browsers_are_closed_to_other_origins(client: TestClient, path: str) -> None:
    for answer in (
        client.options(path, headers={"Origin": ALLOWED, **PREFLIGHT}),
        client.get(path, headers={"Origin": ALLOWED, "Authorization": "Bearer x"}),
    ):
        assert not [name for name in answer.headers if name.startswith("access-control")]


@contextlib.contextmanager
def page_server() -> Iterator[str]:
    """A server of an empty page; yields its origin."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(200)
            self.send_header("Content-Type", "text/html")
            self.end_headers()
            self.wfile.write(b"<title>page</title>")

        def log_message(self, *_: Any) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True).start()
    try:
        yield f"http://127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        server.server_close()


CALL = """async ([url, token]) => {
  try {
    const answer = await fetch(url, {method: "POST", body: "{}", headers: {
      "Authorization": `Bearer ${token}`, "Content-Type": "application/json"}});
    return [answer.status, (await answer.json()).error.code];
  } catch (error) { return [0, error.name]; }
}"""


@pytest.mark.slow
def test_page_of_an_allowed_origin_calls_the_api_in_a_browser(system: RunningSystem) -> None:
    if not CHROMIUM.exists():
        missing("chromium")
    with (
        page_server() as allowed,
        page_server() as other,
        web_server(system, socket_origins=allowed) as server,
        browser(server) as user,
    ):
        found = {}
        for origin in (allowed, other):
            user.page.goto(origin)
            found[origin] = user.page.evaluate(CALL, [user.url("/hooks/media"), TOKEN])
    assert found == {allowed: [400, "bad_payload"], other: [0, "TypeError"]}
