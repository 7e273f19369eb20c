"""Calls to APIs: JSON replies, error replies, and requests through a `requests.Session`."""

from __future__ import annotations

import ipaddress
import json
from collections.abc import Iterator

import pytest
import requests

from pipeline.errors import Code, PermanentError, PipelineError, RetryableError
from pipeline.http_client import ApiReply
from pipeline.http_client.adapter import GuardedAdapter
from pipeline.http_client.client import MAX_REPLY_BYTES
from pipeline.http_client.ssrf_guard import SsrfGuard
from tests.support.hostile_server import HostileServer, drips, head, says
from tests.support.http_client import Names, local_http_client
from tests.support.media_server import Answer, MediaServer

TOKEN = {"Authorization": "Bearer EAAx"}


def call(url: str, *, timeout_s: float = 3) -> ApiReply:
    return local_http_client().call_api(url, headers=TOKEN, timeout_s=timeout_s)


@pytest.fixture
def session() -> Iterator[requests.Session]:
    guard = SsrfGuard(allow_private=[ipaddress.ip_network("127.0.0.0/8")], ports=(80, 443), resolver=Names([]))
    adapter = GuardedAdapter(guard, connect_timeout_s=1, read_timeout_s=1, tls=None, max_reply_bytes=10)
    with requests.Session() as session:
        session.trust_env = False
        session.mount("http://", adapter)
        yield session


def test_reply_is_decoded_and_credentials_are_sent() -> None:
    with MediaServer({"a": b'{"url": 1}'}) as server:
        assert call(server.url("a")) == ApiReply({"url": 1})
        assert server.requests[0].headers["authorization"] == TOKEN["Authorization"]
        assert server.requests[0].headers["accept-encoding"] == "identity"


def test_calls_share_a_kept_connection_and_keep_no_cookies() -> None:
    with MediaServer() as server:
        server.answers["a"] = Answer(200, {"Set-Cookie": "a=b"}, b"{}")
        http_client = local_http_client()
        for _ in range(3):
            http_client.call_api(server.url("a"), headers={}, timeout_s=3)
        assert server.connections == 1
        assert not any("cookie" in request.headers for request in server.requests)


@pytest.mark.parametrize(
    ("status", "code", "kind"),
    [
        (400, Code.FETCH_REFUSED, PermanentError),
        (401, Code.FETCH_UNAUTHORIZED, RetryableError),
        (403, Code.FETCH_UNAUTHORIZED, RetryableError),
        (404, Code.SOURCE_GONE, PermanentError),
        (429, Code.FETCH_UNAVAILABLE, RetryableError),
        (503, Code.FETCH_UNAVAILABLE, RetryableError),
        (302, Code.FETCH_REDIRECT, PermanentError),
    ],
)
def test_error_reply_has_its_content_and_its_error(status: int, code: Code, kind: type[PipelineError]) -> None:
    with MediaServer() as server:
        location = server.url("elsewhere")
        server.answers["a"] = Answer(status, {"Retry-After": "7", "Location": location}, b'"because"')
        reply = call(server.url("a"))
        assert isinstance(reply.error, kind)
        assert (reply.error.code, reply.content, reply.retry_after) == (code, "because", 7)
        assert server.hits("elsewhere") == 0


@pytest.mark.parametrize("location", ["http://[", "gopher://127.0.0.1/", "//", "http://a b/", "\u00fc"])
def test_redirect_to_a_malformed_location_is_not_followed(location: str) -> None:
    with HostileServer(says(head(f"Location: {location}", "Content-Length: 0", status="302 Found"))) as server:
        reply = call(server.url())
        assert reply.error
        assert reply.error.code == Code.FETCH_REDIRECT


def test_oversized_reply_is_refused_but_an_error_reply_keeps_its_error() -> None:
    too_long = json.dumps("a" * MAX_REPLY_BYTES).encode()
    with MediaServer({"a": too_long}) as server:
        server.answers["b"] = Answer(503, {}, too_long)
        with pytest.raises(PermanentError, match="too_large"):
            call(server.url("a"))
        reply = call(server.url("b"))
        assert reply.content is None
        assert isinstance(reply.error, RetryableError)
        assert reply.error.code == Code.FETCH_UNAVAILABLE


def test_compressed_reply_is_refused() -> None:
    with MediaServer() as server:
        server.answers["a"] = Answer(200, {"Content-Encoding": "gzip"}, b"x")
        with pytest.raises(PermanentError, match="too_large"):
            call(server.url("a"))


def test_truncated_reply_may_be_retried() -> None:
    truncated = says(head("Content-Length: 9") + b"half")
    with (
        HostileServer([truncated, truncated]) as server,
        pytest.raises(RetryableError, match=r"fetch_(truncated|reset)"),
    ):
        call(server.url())


def test_timeout_limits_the_whole_call() -> None:
    script = drips(head("Content-Length: 1000"))
    with HostileServer(script) as server, pytest.raises(RetryableError, match="fetch_timeout"):
        call(server.url(), timeout_s=0.5)


def test_adapter_serves_any_session(session: requests.Session) -> None:
    with MediaServer({"a": b'{"a": 1}', "long": b"a" * 11}) as server:
        assert session.get(server.url("a"), timeout=3).json() == {"a": 1}
        assert session.post(server.url("hook"), json={"b": 2}, timeout=3).status_code == 204
        assert json.loads(server.requests[-1].body) == {"b": 2}
        assert session.post(server.url("hook"), data={"c": "3"}, auth=("user", "word"), timeout=3).status_code == 204
        assert server.requests[-1].body == b"c=3"
        assert server.requests[-1].headers["authorization"].startswith("Basic ")
        assert server.connections == 1
        with pytest.raises(PermanentError, match="too_large"):
            session.get(server.url("long"), timeout=3)
        with session.get(server.url("long"), timeout=3, stream=True) as response:
            assert response.status_code == 200
        with pytest.raises(PermanentError, match="url_blocked"):
            session.get("http://10.0.0.1/", timeout=3)
        with pytest.raises(TypeError, match="timeout"):
            session.get(server.url("a"))
