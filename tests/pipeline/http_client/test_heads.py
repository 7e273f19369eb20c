"""Heads of answers: what is understood as it is meant, and what is refused because it might mean two things."""

from __future__ import annotations

import pytest

from pipeline.errors import Code, PermanentError
from pipeline.http_client.heads import MAX_LINE, MAX_LINES, Head, ProtocolError, parse_head


def parsed(*lines: str, status: str = "HTTP/1.1 200 OK", end: str = "\r\n") -> Head:
    head = parse_head(end.join([status, *lines, "", ""]).encode("latin-1"))
    assert head
    return head


def test_fields_are_found_by_name_in_any_case_without_the_blanks_around_them() -> None:
    headers = parsed("Content-TYPE: \t image/png \t", "Via:a", "via: b", "Empty:", "X: a:b").headers
    assert [headers.get(name) for name in ("content-type", "VIA", "Empty", "x", "none")] == [
        "image/png", "a", "", "a:b", None,
    ]  # fmt: skip
    assert (list(headers.get_all("Via")), list(headers.get_all("none"))) == (["a", "b"], [])


@pytest.mark.parametrize("end", ["\r\n", "\n"])
def test_lines_may_end_without_a_carriage_return(end: str) -> None:
    head = parsed("Content-Length: 5", "A: b", end=end)
    assert (head.status, head.length, head.headers.get("A")) == (200, 5, "b")


def test_a_line_that_goes_on_is_one_field() -> None:
    head = parsed("Content-Type: multipart/mixed;", "\tboundary=x ", " y", "Content-Length:", " 5")
    assert (head.headers.get("Content-Type"), head.length) == ("multipart/mixed; boundary=x y", 5)


@pytest.mark.parametrize(
    ("status", "lines", "length", "chunked", "will_close"),
    [
        ("HTTP/1.1 200 OK", ["Content-Length: 5"], 5, False, False),
        ("HTTP/1.1 200", ["Content-Length: 5", "Content-Length: 5"], 5, False, False),
        ("HTTP/1.1 200 OK", ["Content-Length: 5", "Connection: Close"], 5, False, True),
        ("HTTP/1.1 200 OK", ["Transfer-Encoding: Chunked"], None, True, False),
        ("HTTP/1.1 200 OK", [], None, False, True),
        ("HTTP/1.1 204 No Content", [], 0, False, False),
        ("HTTP/1.1 304 Not Modified", ["Content-Length: 5"], 0, False, False),
        ("HTTP/1.0 200 OK", ["Content-Length: 5"], 5, False, True),
        ("HTTP/1.0 200 OK", ["Content-Length: 5", "Connection: keep-alive"], 5, False, False),
        ("HTTP/1.0 200 OK", ["Connection: keep-alive"], None, False, True),
    ],
)
def test_the_end_of_the_answer_and_of_the_connection(
    status: str, lines: list[str], length: int | None, chunked: bool, will_close: bool
) -> None:
    head = parsed(*lines, status=status)
    assert (head.length, head.chunked, head.will_close) == (length, chunked, will_close)


def test_a_server_that_wants_more_of_the_request_says_nothing_yet() -> None:
    assert parse_head(b"HTTP/1.1 100 Continue\r\nA: b\r\n\r\n") is None


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
        ["Content-Length: 5", "Content-Length: 6"],
        ["Content-Length: 5, 5"],
        ["Content-Length: +5"],
        ["Content-Length: 5_0"],
        ["Content-Length:"],
        ["Content-Length: \u00b2"],
        [f"Content-Length: {'0' * 19}"],
        ["Content-Length: 5", " 6"],
        ["Content-Length: 5", "Transfer-Encoding: chunked"],
        ["Transfer-Encoding: chunked", "Transfer-Encoding: chunked"],
        ["Transfer-Encoding: chunked, identity"],
        ["Transfer-Encoding: identity"],
        ["Transfer-Encoding:\x0bchunked"],
        ["Transfer-Encoding:"],
    ],
)
@pytest.mark.parametrize("status", ["HTTP/1.1 200 OK", "HTTP/1.1 204 No Content"])
def test_a_head_that_two_readers_may_understand_differently_is_refused(lines: list[str], status: str) -> None:
    with pytest.raises(PermanentError) as error:
        parsed(*lines, status=status)
    assert error.value.code == Code.FETCH_PROTOCOL


@pytest.mark.parametrize(
    "status",
    ["", "HTTP/2 200 OK", "HTTP/1.1", "HTTP/1.1 20", "HTTP/1.1 2000", "HTTP/1.1 099 x", "http/1.1 200 OK",
     " HTTP/1.1 200 OK", "HTTP/1.1\r200 OK", "HTTP/11 200 OK", "ICY 200 OK"],
)  # fmt: skip
def test_what_has_no_status_is_no_answer(status: str) -> None:
    with pytest.raises(ProtocolError):
        parsed("Content-Length: 5", status=status)


@pytest.mark.parametrize("status", ["HTTP/1.1 101 Switching Protocols", "HTTP/1.1 103 Early Hints", "HTTP/1.1 199 x"])
def test_other_words_before_the_answer_are_refused(status: str) -> None:
    with pytest.raises(PermanentError):
        parsed(status=status)


def test_lines_are_bounded_in_their_number_and_length() -> None:
    assert parsed(*["A: b"] * MAX_LINES).headers.get("A") == "b"
    assert parsed("A: " + "b" * (MAX_LINE - 3)).headers.get("A")
    for lines in (["A: b"] * (MAX_LINES + 1), ["A: " + "b" * (MAX_LINE - 2)]):
        with pytest.raises(ProtocolError):
            parsed(*lines)
    with pytest.raises(PermanentError) as error:
        parsed("Location: /" + "b" * MAX_LINE, status="HTTP/1.1 302 Found")
    assert error.value.code == Code.FETCH_REDIRECT
