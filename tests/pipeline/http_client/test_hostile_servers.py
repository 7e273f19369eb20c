"""Servers that misbehave."""

from __future__ import annotations

import email.utils
import time
import zlib
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from pipeline.errors import Code, PermanentError, RetryableError
from pipeline.http_client.responses import parse_retry_after
from tests.support.hostile_server import HostileServer, Peer, Script, drips, floods, head, resets, says, stalls
from tests.support.http_client import download, local_http_client
from tests.support.media_server import Answer, MediaServer
from tests.support.memory import peak_memory_below

CHUNKED = head("Transfer-Encoding: chunked")
ZEROS = b"10000\r\n" + bytes(0x10000) + b"\r\n"
BOMB = zlib.compress(bytes(10_000_000), 9)


@contextmanager
def within(seconds: float) -> Iterator[None]:
    start = time.monotonic()
    yield
    assert time.monotonic() - start < seconds


@pytest.mark.parametrize(
    ("script", "code"),
    [
        pytest.param(says(head(status="101 Switching Protocols")), "fetch_protocol", id="SSRF-37-101"),
        pytest.param(
            says(head(status="103 Early Hints"), head("Content-Length: 1"), b"x"), "fetch_protocol", id="SSRF-37-103"
        ),
        pytest.param(floods(b"", head(status="100 Continue")), "fetch_protocol", id="SSRF-37-flood-of-100"),
        pytest.param(says(b"just bytes, as in HTTP/0.9"), "fetch_protocol", id="SSRF-37-http-0.9"),
        pytest.param(says(b"HTTP/2 200 OK\r\n\r\nx"), "fetch_protocol", id="SSRF-37-http-2"),
        pytest.param(says(b"HTTP/1.1 2xx OK\r\n\r\nx"), "fetch_protocol", id="SSRF-37-no-status"),
        pytest.param(
            says(head("Content-Length: 1", "Content-Length: 2"), b"xx"), "fetch_protocol", id="SSRF-37-two-lengths"
        ),
        pytest.param(says(head("Content-Length: 1, 2"), b"xx"), "fetch_protocol", id="SSRF-37-two-lengths-in-one"),
        pytest.param(says(head("Content-Length: -1"), b"x"), "fetch_protocol", id="SSRF-37-negative-length"),
        pytest.param(says(head("Content-Length: 0x1"), b"x"), "fetch_protocol", id="SSRF-37-hex-length"),
        pytest.param(says(head("Content-Length: ²"), b"x"), "fetch_protocol", id="SSRF-37-superscript-length"),
        pytest.param(says(head(f"Content-Length: {'9' * 30}"), b"x"), "fetch_protocol", id="SSRF-37-huge-length"),
        pytest.param(
            says(head("Content-Length: 6", "Transfer-Encoding: chunked"), b"0\r\n\r\nx"),
            "fetch_protocol",
            id="SSRF-37-length-and-chunked",
        ),
        pytest.param(says(head("Transfer-Encoding: xchunked"), b"x"), "fetch_protocol", id="SSRF-37-unknown-coding"),
        pytest.param(says(head("Transfer-Encoding: gzip, chunked"), b"x"), "fetch_protocol", id="SSRF-37-two-codings"),
        pytest.param(says(head("Content-Length : 1"), b"x"), "fetch_protocol", id="SSRF-37-space-before-colon"),
        pytest.param(says(head("no colon here", "Content-Length: 1"), b"x"), "fetch_protocol", id="SSRF-37-no-colon"),
        pytest.param(
            says(head("Transfer-Encoding: chunked", "Transfer-Encoding: chunked"), b"0\r\n\r\n"),
            "fetch_protocol",
            id="HTTP-18-two-transfer-encodings",
        ),
        pytest.param(says(b"HTTP/1.1 200 OK\nContent-Length: 1\n\nx"), "fetch_protocol", id="HTTP-18-bare-line-feeds"),
        pytest.param(
            floods(CHUNKED, b"1;" + b"x" * 60_000 + b"\r\nx\r\n"), "fetch_protocol", id="HTTP-17-chunk-extensions"
        ),
        pytest.param(says(CHUNKED, b"f" * 70_000), "fetch_protocol", id="SSRF-37-endless-chunk-size"),
        pytest.param(stalls(head("Content-Length: 5000000000") + b"x" * 10), "too_large", id="HTTP-01"),
        pytest.param(floods(CHUNKED, ZEROS), "too_large", id="HTTP-02-chunked"),
        pytest.param(floods(head("Connection: close"), bytes(65536)), "too_large", id="HTTP-02-until-close"),
        pytest.param(says(head("Content-Encoding: gzip"), BOMB), "too_large", id="HTTP-05-gzip"),
        pytest.param(says(head("Content-Encoding: gzip, gzip"), BOMB), "too_large", id="HTTP-05-twice"),
        pytest.param(
            says(head("Content-Encoding: identity", "Content-Encoding: br"), BOMB), "too_large", id="HTTP-05-br"
        ),
        pytest.param(says(head("Content-Encoding: deflate"), BOMB), "too_large", id="HTTP-05-deflate"),
        pytest.param(says(head(*["A: b"] * 100_000), b"x"), "fetch_protocol", id="HTTP-08-100000-headers"),
        pytest.param(says(head("A: " + "b" * 10_000_000), b"x"), "fetch_protocol", id="HTTP-08-10-MB-line"),
        pytest.param(
            floods(head()[:-2], b"A: " + b"b" * 60_000 + b"\r\n"), "fetch_protocol", id="HTTP-08-endless-headers"
        ),
        pytest.param(floods(b"HTTP/1.1 200 ", b"O" * 65_536), "fetch_protocol", id="HTTP-08-endless-status"),
    ],
)
def test_invalid_response_is_refused_permanently(script: Script, code: str) -> None:
    with HostileServer(script) as server, within(4), peak_memory_below(megabytes=32):
        with pytest.raises(PermanentError) as error:
            download(local_http_client(), server.url(), max_bytes=1_000_000)
        assert (error.value.code, server.connections) == (code, 1)


@pytest.mark.parametrize(
    ("script", "code"),
    [
        pytest.param(says(head("Content-Length: 10"), b"x" * 9), "fetch_truncated", id="HTTP-04-length"),
        pytest.param(says(CHUNKED, b"a\r\nxxxxx"), "fetch_truncated", id="HTTP-04-in-a-chunk"),
        pytest.param(says(CHUNKED, b"5\r\nxxxxx\r\n"), "fetch_truncated", id="HTTP-04-between-chunks"),
        pytest.param(says(CHUNKED, b"5\r\nxxxxx\r\n0\r\n"), "fetch_truncated", id="HTTP-04-after-the-last-chunk"),
        pytest.param(drips(head("Content-Length: 1000000")), "fetch_timeout", id="HTTP-06-length"),
        pytest.param(drips(CHUNKED, b"1\r\nx\r\n"), "fetch_timeout", id="HTTP-06-chunked"),
        pytest.param(drips(CHUNKED, b"0"), "fetch_timeout", id="HTTP-06-chunk-size"),
        pytest.param(drips(CHUNKED + b"0\r\n", b"A: b\r\n"), "fetch_timeout", id="HTTP-06-trailers"),
        pytest.param(drips(b"HTTP/1.1 200 ", b"O"), "fetch_timeout", id="HTTP-07-slow-status"),
        pytest.param(drips(head()[:-2], b"A: b\r\n"), "fetch_timeout", id="HTTP-07-slow-headers"),
        pytest.param(stalls(), "fetch_timeout", id="HTTP-07-no-answer"),
        pytest.param(stalls(head("Content-Length: 9") + b"x"), "fetch_timeout", id="HTTP-06-silence"),
        pytest.param(resets(head("Content-Length: 100000") + b"x" * 50_000), "fetch_reset", id="HTTP-09-in-the-body"),
        pytest.param(resets(b"HTTP/1.1 200"), "fetch_reset", id="HTTP-09-in-the-head"),
        pytest.param(says(b""), "fetch_reset", id="HTTP-09-no-answer"),
        pytest.param(says(head(status="500 Oops")), "fetch_unavailable", id="HTTP-10-500"),
        pytest.param(says(head(status="502 Bad Gateway")), "fetch_unavailable", id="HTTP-10-502"),
        pytest.param(says(head(status="408 Request Timeout")), "fetch_unavailable", id="HTTP-10-408"),
    ],
)
def test_temporary_failure_is_retryable(script: Script, code: str) -> None:
    with HostileServer(script) as server, within(3):
        with pytest.raises(RetryableError) as error:
            download(local_http_client(), server.url(), deadline_s=0.7)
        assert (error.value.code, error.value.retry_after) == (code, None)


@pytest.mark.parametrize("status", [pytest.param(status, id=f"HTTP-10-{status}") for status in (429, 500, 503)])
def test_retry_after_is_passed_on(status: int) -> None:
    with MediaServer() as server:
        server.answers["a"] = Answer(status, {"Retry-After": "3600"})
        with pytest.raises(RetryableError) as error:
            download(local_http_client(), server.url("a"))
        assert (error.value.code, error.value.retry_after) == (Code.FETCH_UNAVAILABLE, 3600)


def test_retry_after_is_a_number_or_a_date() -> None:
    soon = parse_retry_after(email.utils.formatdate(time.time() + 120, usegmt=True))
    assert soon is not None
    assert 110 < soon <= 120
    assert parse_retry_after(email.utils.formatdate(time.time() - 120, usegmt=True)) == 0
    assert [parse_retry_after(text) for text in ("7", "-1", "soon", "nan", "inf", "", None)] == [7, 0] + [None] * 5


@pytest.mark.parametrize(
    ("status", "code"),
    [pytest.param(status, "source_gone", id=f"HTTP-11-{status}") for status in (401, 403, 404, 410)]
    + [pytest.param(status, "empty", id=f"HTTP-13-{status}") for status in (204, 205, 206)]
    + [pytest.param(status, "fetch_refused", id=str(status)) for status in (400, 405, 451)]
    + [pytest.param(status, "fetch_protocol", id=str(status)) for status in (201, 202, 299)],
)
def test_status_without_a_file_is_permanent(status: int, code: str) -> None:
    with MediaServer() as server:
        server.answers["a"] = Answer(status, body=b"part")
        with pytest.raises(PermanentError) as error:
            download(local_http_client(), server.url("a"))
        assert error.value.code == code


@pytest.mark.parametrize(
    "more", [pytest.param(b"!", id="HTTP-03-a-byte"), pytest.param(bytes(10**6), id="HTTP-03-a-MB")]
)
def test_bytes_beyond_the_announced_length_are_not_read(more: bytes) -> None:
    with HostileServer(says(head("Content-Length: 5"), b"hello" + more)) as server:
        assert download(local_http_client(), server.url()) == b"hello"


@pytest.mark.parametrize("filler", [pytest.param(0, id="HTTP-03-near"), pytest.param(100_000, id="HTTP-03-far")])
def test_surplus_bytes_are_not_read_as_the_next_response(filler: int) -> None:
    """A smuggled response must not be returned as another file of that host."""
    first = b"first" + bytes(filler)
    smuggled = head("Content-Length: 4") + b"evil"
    scripts = [
        stalls(head(f"Content-Length: {len(first)}") + first + smuggled),
        says(head("Content-Length: 4"), b"good"),
    ]
    with HostileServer(scripts) as server:
        http_client = local_http_client()
        assert download(http_client, server.url("/1")) == first
        assert download(http_client, server.url("/2")) == b"good"


def test_body_of_exactly_the_limit_is_accepted_and_one_byte_more_is_refused() -> None:
    for body in (head("Content-Length: 100") + b"x" * 100, CHUNKED + b"64\r\n" + b"x" * 100 + b"\r\n0\r\n\r\n"):
        with HostileServer(says(body)) as server:
            assert download(local_http_client(), server.url(), max_bytes=100) == b"x" * 100
            with pytest.raises(PermanentError, match="too_large"):
                download(local_http_client(), server.url(), max_bytes=99)


def test_announced_length_does_not_extend_the_deadline() -> None:
    """HTTP-06: the deadline grows with the received bytes only."""
    script = drips(head("Content-Length: 9000000"), b"x" * 10)
    with HostileServer(script) as server, within(3), pytest.raises(RetryableError, match="fetch_timeout"):
        download(local_http_client(), server.url(), deadline_s=lambda received: 0.5 + (received or 0) / 100_000)


def test_steady_server_may_exceed_the_base_deadline() -> None:
    parts = b"x" * 300_000

    def steadily(peer: Peer) -> None:
        peer.request()
        peer.send(head(f"Content-Length: {len(parts) * 6}"))
        for _ in range(6):
            peer.wait(0.15)
            peer.send(parts)

    with HostileServer(steadily) as server:
        body = download(
            local_http_client(), server.url(), deadline_s=lambda received: 0.5 + (received or 0) / 1_000_000
        )
        assert body == parts * 6
