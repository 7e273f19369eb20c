"""Servers that answer slowly on purpose, to hold a thread.

The clients allow 0.5 s, and one second more for so many bytes of the file. Each server sends enough other bytes to earn
endless time if those bytes counted.
"""

from __future__ import annotations

import socket
import ssl
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from itertools import count

import pytest
import trustme

from pipeline.errors import Code, PipelineError
from pipeline.http_client import Deadline, DownloadLimits, HttpClient
from tests.support.hostile_server import HostileServer, Peer, Script, drips, head, stalls
from tests.support.http_client import Names, local_http_client
from tests.support.tls import client_context, server_context

CHUNKED = head("Transfer-Encoding: chunked")
AUTHORITY = trustme.CA()
CERTIFICATE = server_context(AUTHORITY, "media.example")
POST_BODY = bytes(20_000_000)  # more than the buffers of two sockets


@contextmanager
def within(seconds: float) -> Iterator[None]:
    start = time.monotonic()
    yield
    assert time.monotonic() - start < seconds


def error_code(url: str, deadline: Deadline, *, http_client: HttpClient | None = None) -> Code:
    """The code of the error that a download ends with."""
    http_client = http_client or local_http_client(read_timeout_s=30, connect_timeout_s=30)
    with (
        pytest.raises(PipelineError) as error,
        http_client.download(url, limits=DownloadLimits(deadline, 10**9)) as body,
    ):
        for _ in body.views():
            pass
    return error.value.code


def earning(bytes_per_s: int) -> Deadline:
    return Deadline(lambda received: 0.5 + received / bytes_per_s)


def tls_records(first: bytes, *, every_s: float) -> Script:
    """A script that answers over TLS with `first`, and then sends a record of 16 kB byte by byte."""

    def script(peer: Peer) -> None:
        incoming, outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
        tls = CERTIFICATE.wrap_bio(incoming, outgoing, server_side=True)
        while True:
            with suppress(ssl.SSLWantReadError):
                tls.do_handshake()
                break
            peer.send(outgoing.read())
            incoming.write(peer.socket.recv(65536))
        tls.write(first)
        peer.send(outgoing.read())
        tls.write(bytes(16_000))
        record = outgoing.read()
        for number in range(len(record) - 1):
            peer.wait(every_s)
            peer.send(record[number : number + 1])

    return script


@pytest.mark.parametrize(
    ("script", "codes"),
    [
        pytest.param(
            drips(CHUNKED, b"1;" + b"x" * 60_000 + b"\r\nx\r\n"), {Code.FETCH_PROTOCOL}, id="one-byte-behind-60-kB"
        ),
        pytest.param(
            drips(CHUNKED, b"64;" + b"x" * 780 + b"\r\n" + b"y" * 100 + b"\r\n", every_s=0.01),
            {Code.FETCH_TIMEOUT, Code.FETCH_PROTOCOL},
            id="eight-bytes-of-extension-for-each-byte",
        ),
        pytest.param(
            drips(CHUNKED, b"64;" + b"x" * 240 + b"\r\n" + b"y" * 100 + b"\r\n", every_s=0.025),
            {Code.FETCH_TIMEOUT},
            id="extensions-within-their-limit",
        ),
        pytest.param(
            drips(CHUNKED + b"1\r\nx\r\n0\r\n", b"A: " + b"b" * 600 + b"\r\n", every_s=0.05),
            {Code.FETCH_TIMEOUT},
            id="trailers",
        ),
        pytest.param(
            drips(b"", head("A: " + "b" * 600, status="100 Continue")), {Code.FETCH_TIMEOUT}, id="informational-heads"
        ),
        pytest.param(
            drips(head()[:-2], b"A: " + b"b" * 600 + b"\r\n", every_s=0.05), {Code.FETCH_TIMEOUT}, id="slow-head"
        ),
    ],
)
def test_bytes_that_are_not_the_file_gain_no_time(script: Script, codes: set[Code]) -> None:
    with HostileServer(script) as server, within(2):
        assert error_code(server.url(), earning(10_000)) in codes


def test_absolute_deadline_ends_a_server_that_keeps_the_rate() -> None:
    with HostileServer(drips(head("Content-Length: 900000000"), bytes(5000))) as server, within(2):
        deadline = Deadline(lambda received: 0.5 + received / 10_000, at_most_s=1)
        assert error_code(server.url(), deadline) == Code.FETCH_TIMEOUT


def test_endless_interim_heads_end_at_their_limit_also_if_each_arrives_whole() -> None:
    interim = head("A: " + "b" * 4066, status="100 Continue")
    assert len(interim) == 4096  # so that a buffer never ends within one
    with HostileServer(drips(b"", interim, every_s=0.01)) as server, within(5):
        assert error_code(server.url(), Deadline(20)) == Code.FETCH_PROTOCOL


def test_redirects_do_not_extend_the_deadline() -> None:
    numbers = count()

    def redirect(peer: Peer) -> None:
        peer.request()
        peer.wait(0.3)
        target = f"Location: /{next(numbers)}"
        peer.send(head(target, "Content-Length: 0", "Connection: close", status="302 Found"))

    with HostileServer(redirect) as server, within(2):
        assert error_code(server.url(), Deadline(0.8)) == Code.FETCH_TIMEOUT
        assert server.connections <= 3


def test_redirect_to_a_busy_host_does_not_extend_the_deadline() -> None:
    with HostileServer(stalls()) as busy:
        redirect = head(f"Location: {busy.url()}", "Content-Length: 0", status="302 Found")
        http_client = local_http_client(per_host=1, resolver=Names(["127.0.0.1"]), read_timeout_s=30)
        with HostileServer(drips(redirect)) as server, within(3):
            assert error_code(server.url(host="media.example"), Deadline(0.5), http_client=http_client) in {
                Code.FETCH_TIMEOUT,
                Code.FETCH_BUSY,
            }


@pytest.mark.parametrize(
    "script",
    [
        pytest.param(stalls(), id="silent"),
        pytest.param(drips(b"\x16\x03\x03\x3f\xff\x02", b"\0"), id="handshake-byte-by-byte"),
        pytest.param(tls_records(b"", every_s=0.02), id="head-in-a-slow-record"),
        pytest.param(tls_records(head("Content-Length: 99999"), every_s=0.02), id="body-in-a-slow-record"),
    ],
)
def test_slow_tls_ends_with_the_deadline(script: Script) -> None:
    http_client = local_http_client(
        resolver=Names(["127.0.0.1"]), tls=client_context(AUTHORITY), read_timeout_s=30, connect_timeout_s=30
    )
    with HostileServer(script) as server, within(2):
        url = server.url(host="media.example").replace("http:", "https:")
        assert error_code(url, Deadline(0.6), http_client=http_client) == Code.FETCH_TIMEOUT


def test_unanswered_connection_attempt_ends_with_the_deadline() -> None:
    with socket.socket() as full:
        full.bind(("127.0.0.1", 0))
        full.listen(0)
        port = full.getsockname()[1]
        waiting = [socket.socket() for _ in range(4)]
        for sock in waiting:  # the backlog: the next connection gets no answer
            sock.setblocking(False)
            sock.connect_ex(("127.0.0.1", port))
        with within(2):
            assert error_code(f"http://127.0.0.1:{port}/", Deadline(0.5)) == Code.FETCH_TIMEOUT
        for sock in waiting:
            sock.close()


@pytest.mark.parametrize("scheme", ["http", "https"])
def test_server_that_reads_the_request_slowly_ends_with_the_deadline(scheme: str) -> None:
    def read_slowly(peer: Peer) -> None:
        sock = peer.socket if scheme == "http" else CERTIFICATE.wrap_socket(peer.socket, server_side=True)
        while True:
            peer.wait(0.05)
            sock.recv(100_000)

    http_client = local_http_client(
        resolver=Names(["127.0.0.1"]), tls=client_context(AUTHORITY), read_timeout_s=30, connect_timeout_s=30
    )
    with HostileServer(read_slowly) as server, within(3):
        url = server.url(host="media.example").replace("http:", f"{scheme}:")
        with pytest.raises(PipelineError, match="fetch_timeout"):
            http_client.post(url, POST_BODY, headers={}, timeout_s=0.6)


def test_open_connection_behind_a_whole_file_is_not_waited_for() -> None:
    with HostileServer(stalls(head("Content-Length: 4") + b"file")) as server, within(1):
        http_client = local_http_client(read_timeout_s=30)
        with http_client.download(server.url(), limits=DownloadLimits(Deadline(20), 100)) as body:
            assert b"".join(body.chunks()) == b"file"
        http_client.close()
