"""Response bodies by length, chunked and until close: complete, malformed, and in any fragmentation."""

from __future__ import annotations

import os
import threading

import pytest

from pipeline.errors import PermanentError, RetryableError
from pipeline.http_client import Deadline, DownloadLimits
from tests.support.hostile_server import HostileServer, Peer, Script, head, says
from tests.support.http_client import download, local_http_client
from tests.support.media_server import MediaServer

CHUNKED = head("Transfer-Encoding: chunked")
BIG = os.urandom(700_001)


def in_chunks(content: bytes, size: int) -> bytes:
    parts = [content[at : at + size] for at in range(0, len(content), size)]
    return b"".join(b"%x\r\n%b\r\n" % (len(part), part) for part in parts) + b"0\r\n\r\n"


def in_pieces(data: bytes, size: int) -> Script:
    """A script that sends data in pieces of this size, each in a packet of its own."""
    return says(*(data[at : at + size] for at in range(0, len(data), size)))


@pytest.mark.parametrize("pieces_of", [1, 7, 100_000, 10**9])
@pytest.mark.parametrize(
    ("answer", "body"),
    [
        (head("Content-Length: 11") + b"hello world", b"hello world"),
        (head("Connection: close") + b"hello world", b"hello world"),
        (head(status="200 OK").replace(b"1.1", b"1.0") + b"hello", b"hello"),
        (head("Content-Length: 0"), b""),
        (head(status="100 Continue") + head("A: b", status="100 Continue") + head("Content-Length: 1") + b"x", b"x"),
        (CHUNKED + b"5\r\nhello\r\n0\r\n\r\n", b"hello"),
        (CHUNKED + b"05\r\nhello\r\nA;name=\"v\"\r\n, my world\r\n0;x\r\nTrailer: x\r\n\r\n", b"hello, my world"),
        (CHUNKED + b"0\r\n\r\n", b""),
    ],
)  # fmt: skip
def test_body_is_the_same_in_any_fragmentation(answer: bytes, body: bytes, pieces_of: int) -> None:
    with HostileServer(in_pieces(answer, pieces_of)) as server:
        assert download(local_http_client(), server.url(), max_bytes=20) == body


@pytest.mark.parametrize(
    "answer",
    [
        pytest.param(head(f"Content-Length: {len(BIG)}") + BIG, id="length"),
        pytest.param(CHUNKED + in_chunks(BIG, 99_991), id="large chunks"),
        pytest.param(CHUNKED + in_chunks(BIG, 12), id="tiny chunks"),
        pytest.param(head("Connection: close") + BIG, id="until close"),
    ],
)
def test_large_body_is_read_in_full_pieces(answer: bytes) -> None:
    with HostileServer(says(answer)) as server:
        http_client = local_http_client()
        with http_client.download(server.url(), limits=DownloadLimits(Deadline(10), len(BIG))) as body:
            pieces = [bytes(piece) for piece in body.views()]
        assert [len(piece) for piece in pieces] == [262_144, 262_144, 175_713]
        assert b"".join(pieces) == BIG
        with (
            pytest.raises(PermanentError, match="too_large"),
            http_client.download(server.url(), limits=DownloadLimits(Deadline(10), len(BIG) - 1)) as body,
        ):
            assert sum(len(piece) for piece in body.views()) < len(BIG)


@pytest.mark.parametrize(
    "chunks",
    [b"x\r\nhello\r\n", b"-5\r\n", b"+5\r\nhello\r\n0\r\n\r\n", b"0x5\r\nhello\r\n0\r\n\r\n", b"5_0\r\n",
     b" 5\r\nhello", b"\r\n", b"5\r\nhello!\r\n0\r\n\r\n", b"5\r\nhello0\r\n\r\n", b"1" + b"0" * 16 + b"\r\n",
     b"5\rhello\r\n", b"5\nhello\n0\n\n", b"5 \r\nhello\r\n0\r\n\r\n",
     b"5;" + b"x" * 70_000 + b"\r\nhello\r\n0\r\n\r\n", b"0\r\n" + b"A: " + b"b" * 70_000 + b"\r\n\r\n",
     b"0\r\n" + b"A: bcdefgh\r\n" * 30_000 + b"\r\n"],
)  # fmt: skip
def test_malformed_chunks_are_refused(chunks: bytes) -> None:
    with HostileServer(says(CHUNKED, chunks)) as server, pytest.raises(PermanentError, match="fetch_protocol"):
        download(local_http_client(), server.url())


@pytest.mark.parametrize(
    "beginning", [b"H", b"HTTP/1.1 200", b"HTTP/1.1 200 OK\r\nContent-Len", b"HTTP/1.1 200 OK\r\n"]
)
def test_truncated_head_is_retryable(beginning: bytes) -> None:
    with HostileServer(says(beginning)) as server, pytest.raises(RetryableError, match="fetch_reset"):
        download(local_http_client(), server.url())


@pytest.mark.parametrize(
    "surplus",
    [b"", b"\r\n\r\n", head("Content-Length: 4") + b"evil"],
    ids=["closed", "blank lines", "another response"],
)
def test_connection_is_reused_after_chunks_unless_surplus_bytes_follow(surplus: bytes) -> None:
    surplus_sent = threading.Event()

    def serve(peer: Peer) -> None:
        for _ in range(2):
            peer.request()
            peer.send(CHUNKED + in_chunks(b"good", 2))
        peer.request()
        peer.send(CHUNKED + in_chunks(b"good", 2) + surplus)
        surplus_sent.set()
        if surplus:
            peer.wait()

    with HostileServer(serve) as server:
        http_client = local_http_client()
        assert [download(http_client, server.url()) for _ in range(3)] == [b"good"] * 3
        assert server.connections == 1
        assert surplus_sent.wait(10)
        assert download(http_client, server.url()) == b"good"
        assert server.connections == 2


def test_interleaved_bodies_have_separate_buffers() -> None:
    with MediaServer({"a": b"a" * 600_000, "b": b"b" * 600_000}) as server:
        http_client = local_http_client()
        with http_client.download(server.url("a"), limits=DownloadLimits(Deadline(5), 600_000)) as first:
            pieces = first.views()
            piece = next(pieces)
            assert download(http_client, server.url("b")) == b"b" * 600_000
            assert bytes(piece) == b"a" * 262_144
            assert b"".join(map(bytes, pieces)) == b"a" * (600_000 - 262_144)
