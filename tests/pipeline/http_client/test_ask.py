"""Questions to a server that explains its refusals."""

from __future__ import annotations

import pytest

from pipeline.errors import Code, PermanentError, PipelineError, RetryableError
from pipeline.http_client import Reply
from tests.support.hostile_server import HostileServer, head, says
from tests.support.http_client import local_http_client
from tests.support.media_server import Answer, MediaServer

KEY = {"Authorization": "Bearer EAAx"}


def asked(url: str, *, max_bytes: int = 1000, timeout_s: float = 3) -> Reply:
    return local_http_client().ask(url, credentials=KEY, timeout_s=timeout_s, max_bytes=max_bytes)


def test_an_answer_comes_whole_and_the_credentials_were_shown() -> None:
    with MediaServer({"a": b'{"url": 1}'}) as server:
        assert asked(server.url("a")) == Reply(b'{"url": 1}')
        assert server.requests[0].headers["authorization"] == KEY["Authorization"]


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
def test_a_refusal_comes_with_its_explanation(status: int, code: Code, kind: type[PipelineError]) -> None:
    with MediaServer() as server:
        place = server.url("elsewhere")
        server.answers["a"] = Answer(status, {"Retry-After": "7", "Location": place}, b"because")
        reply = asked(server.url("a"))
        assert isinstance(reply.refusal, kind)
        assert (reply.refusal.code, reply.body, reply.retry_after) == (code, b"because", 7)
        assert server.hits("elsewhere") == 0


def test_an_answer_beyond_the_limit_is_refused_and_a_refusal_beyond_it_keeps_its_meaning() -> None:
    with MediaServer({"a": b"a" * 1001}) as server:
        server.answers["b"] = Answer(503, {}, b"b" * 1001)
        with pytest.raises(PermanentError, match="too_large"):
            asked(server.url("a"))
        reply = asked(server.url("b"))
        assert reply.body == b""
        assert isinstance(reply.refusal, RetryableError)
        assert reply.refusal.code == Code.FETCH_UNAVAILABLE


def test_an_answer_that_breaks_off_may_be_asked_for_again() -> None:
    broken = says(head("Content-Length: 9") + b"half")
    with HostileServer([broken, broken]) as server, pytest.raises(RetryableError, match=r"fetch_(truncated|reset)"):
        asked(server.url())
