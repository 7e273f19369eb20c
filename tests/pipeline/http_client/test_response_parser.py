"""Response heads: what is accepted, and what is refused because two HTTP clients might read it differently."""

from __future__ import annotations

import pytest

from pipeline.errors import Code, PermanentError
from pipeline.http_client.response_parser import (
    END_OF_HEAD,
    MAX_HEADERS,
    MAX_LINE,
    ProtocolError,
    ResponseHead,
    ResponseParser,
)


def raw_head(*lines: str, status: str = "HTTP/1.1 200 OK", end: str = "\r\n") -> bytes:
    return end.join([status, *lines, "", ""]).encode("latin-1")


def parse(raw: bytes, *, step: int | None = None) -> ResponseHead | None:
    """Parses a head that arrives in parts of `step` bytes."""
    parser = ResponseParser()
    step = step or len(raw)
    for start in range(0, len(raw), step):
        parser.feed_head(raw[start : start + step])
    return parser.head(raw)


def parsed(*lines: str, status: str = "HTTP/1.1 200 OK") -> ResponseHead:
    head = parse(raw_head(*lines, status=status))
    assert head
    return head


@pytest.mark.parametrize("step", [1, 7, 1000])
def test_headers_are_found_by_name_in_any_case_and_values_are_stripped(step: int) -> None:
    head = parse(raw_head("Content-TYPE: \t image/png \t", "Via:a", "via: b", "Empty:", "X: a:b"), step=step)
    assert head
    assert [head.headers.get(name) for name in ("content-type", "VIA", "Empty", "x", "none")] == [
        "image/png", "a", "", "a:b", None,
    ]  # fmt: skip
    assert (head.headers.get_all("Via"), head.headers.get_all("none")) == (["a", "b"], [])


@pytest.mark.parametrize(
    ("status", "lines", "length", "chunked", "keep_alive"),
    [
        ("HTTP/1.1 200 OK", ["Content-Length: 5"], 5, False, True),
        ("HTTP/1.1 200", ["Content-Length: 5"], 5, False, True),
        ("HTTP/1.1 200 OK", ["Content-Length: 5", "Connection: Close"], 5, False, False),
        ("HTTP/1.1 200 OK", ["Transfer-Encoding: Chunked"], None, True, True),
        ("HTTP/1.1 200 OK", [], None, False, False),
        ("HTTP/1.1 204 No Content", [], 0, False, True),
        ("HTTP/1.1 304 Not Modified", ["Content-Length: 5"], 0, False, True),
        ("HTTP/1.0 200 OK", ["Content-Length: 5"], 5, False, False),
        ("HTTP/1.0 200 OK", ["Content-Length: 5", "Connection: keep-alive"], 5, False, True),
        ("HTTP/1.0 200 OK", ["Connection: keep-alive"], None, False, False),
    ],
)
def test_head_gives_the_body_length_and_keep_alive(
    status: str, lines: list[str], length: int | None, chunked: bool, keep_alive: bool
) -> None:
    head = parsed(*lines, status=status)
    assert (head.length, head.chunked, head.keep_alive) == (length, chunked, keep_alive)


def test_100_continue_is_skipped() -> None:
    parser = ResponseParser()
    interim = raw_head("A: b", status="HTTP/1.1 100 Continue")
    parser.feed_head(interim)
    assert parser.head(interim) is None
    final = raw_head("Content-Length: 5")
    parser.feed_head(final)
    head = parser.head(final)
    assert head
    assert (head.status, head.length, head.headers.get("A")) == (200, 5, None)


@pytest.mark.parametrize(
    "lines",
    [
        [" Content-Length: 5"],
        ["Content-Length : 5"],
        ["Content-Length\t: 5"],
        [": 5"],
        ["no colon"],
        ["Content-L\0ength: 5"],
        ["A: b\rContent-Length: 5"],
        ["A: b\r"],
        ["A: \0"],
        ["Ä: b"],
        ["A(b: c"],
        ["A: b", " folded"],
        ["Content-Length: 5", "Content-Length: 5"],
        ["Content-Length: 5", "Content-Length: 6"],
        ["Content-Length: 5, 5"],
        ["Content-Length: +5"],
        ["Content-Length: 5_0"],
        ["Content-Length:"],
        ["Content-Length: \u00b2"],
        [f"Content-Length: {'9' * 20}"],
        ["Content-Length: 5", " 6"],
        ["Content-Length: 5", "Transfer-Encoding: chunked"],
        ["Transfer-Encoding: chunked", "Content-Length: 5"],
        ["Transfer-Encoding: chunked", "Transfer-Encoding: chunked"],
        ["Transfer-Encoding: gzip, chunked"],
        ["Transfer-Encoding: gzip", "Transfer-Encoding: chunked"],
        ["Transfer-Encoding: chunked, identity"],
        ["Transfer-Encoding: identity"],
        ["Transfer-Encoding: xchunked"],
        ["Transfer-Encoding:\x0bchunked"],
        ["Transfer-Encoding:"],
    ],
)
@pytest.mark.parametrize("status", ["HTTP/1.1 200 OK", "HTTP/1.1 204 No Content"])
def test_ambiguous_head_is_refused(lines: list[str], status: str) -> None:
    with pytest.raises((PermanentError, ProtocolError)) as error:
        parsed(*lines, status=status)
    assert not isinstance(error.value, PermanentError) or error.value.code == Code.FETCH_PROTOCOL


def test_bare_line_feeds_are_refused() -> None:
    for raw in (
        raw_head("Content-Length: 5", end="\n"),
        b"HTTP/1.1 200 OK\r\nContent-Length: 5\nA: b" + END_OF_HEAD,
    ):
        with pytest.raises(ProtocolError):
            parse(raw)


@pytest.mark.parametrize(
    "status",
    ["", "HTTP/2 200 OK", "HTTP/2.0 200 OK", "HTTP/0.9 200 OK", "HTTP/1.1", "HTTP/1.1 20", "HTTP/1.1 2000",
     "HTTP/1.1 099 x", "HTTP/1.1 2xx x", "http/1.1 200 OK", " HTTP/1.1 200 OK", "\r\nHTTP/1.1 200 OK",
     "HTTP/1.1\r200 OK", "HTTP/11 200 OK", "ICY 200 OK", "RTSP/1.0 200 OK", "GET / HTTP/1.1"],
)  # fmt: skip
def test_head_without_an_http_1_status_is_refused(status: str) -> None:
    with pytest.raises(ProtocolError):
        parsed("Content-Length: 5", status=status)


@pytest.mark.parametrize("status", ["HTTP/1.1 101 Switching Protocols", "HTTP/1.1 103 Early Hints", "HTTP/1.1 199 x"])
def test_informational_heads_other_than_100_are_refused(status: str) -> None:
    with pytest.raises(ProtocolError):
        parsed(status=status)


def test_number_and_length_of_headers_are_limited() -> None:
    assert parsed(*["A: b"] * MAX_HEADERS).headers.get("A") == "b"
    assert parsed("A: " + "b" * (MAX_LINE - 3)).headers.get("A")
    for lines in (["A: b"] * (MAX_HEADERS + 1), ["A: " + "b" * MAX_LINE]):
        with pytest.raises(ProtocolError):
            parsed(*lines)
    with pytest.raises(PermanentError) as error:
        parsed("Location: /" + "b" * MAX_LINE, status="HTTP/1.1 302 Found")
    assert error.value.code == Code.FETCH_REDIRECT
