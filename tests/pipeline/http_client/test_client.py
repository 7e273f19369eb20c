"""The HTTP client: kept connections, slots per host, requests and their errors."""

from __future__ import annotations

import socket
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import psutil
import pytest

from pipeline.errors import BusyError, Code, PermanentError, RetryableError
from pipeline.http_client import Deadline, DownloadLimits
from pipeline.http_client.connection_pool import ConnectionPool
from tests.support.hostile_server import HostileServer, Peer, head, says, stalls
from tests.support.http_client import Names, download, local_http_client
from tests.support.media_server import Answer, MediaServer

ONE = head("Content-Length: 3") + b"one"
TWO = head("Content-Length: 3") + b"two"


def closed_port() -> int:
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        return int(sock.getsockname()[1])


def test_requests_reuse_one_connection() -> None:
    with MediaServer({"a": b"a", "b": b"b" * 600_000, "ü": b"u"}) as server:
        http_client = local_http_client()
        assert [len(download(http_client, server.url(name))) for name in ("a", "b", "ü", "a")] == [1, 600_000, 1, 1]
        assert server.connections == 1


def test_threads_share_kept_connections() -> None:
    with MediaServer({"a": b"a" * 50_000}) as server:
        http_client = local_http_client(per_host=4)
        with ThreadPoolExecutor(16) as threads:
            bodies = list(threads.map(lambda _: download(http_client, server.url("a")), range(100)))
        assert set(map(len, bodies)) == {50_000}
        assert server.connections <= 4


def test_kept_connection_closed_by_the_server_is_replaced() -> None:
    with HostileServer([says(ONE), says(TWO)]) as server:
        http_client = local_http_client()
        assert download(http_client, server.url()) == b"one"
        time.sleep(0.1)
        assert download(http_client, server.url()) == b"two"
        assert server.connections == 2


def test_request_on_a_broken_kept_connection_is_repeated_once() -> None:
    def breaks_later(peer: Peer) -> None:
        peer.request()
        peer.send(ONE)
        peer.request()
        peer.reset()

    with HostileServer([breaks_later, breaks_later]) as server:
        http_client = local_http_client()
        assert download(http_client, server.url()) == b"one"
        assert download(http_client, server.url()) == b"one"
        assert server.connections == 2
    with HostileServer([breaks_later, lambda peer: peer.reset()]) as server:
        download(http_client, server.url())
        with pytest.raises(RetryableError, match="fetch_reset"):
            download(http_client, server.url())
        assert server.connections == 2


def test_connection_with_an_unread_body_is_closed() -> None:
    with MediaServer({"a": b"a" * 10_000_000, "b": b"b"}) as server:
        http_client = local_http_client()
        with http_client.download(server.url("a"), limits=DownloadLimits(Deadline(5), 10_000_000)) as body:
            assert body.length == 10_000_000
            assert len(next(body.chunks())) == 262_144
        assert download(http_client, server.url("b")) == b"b"
        assert server.connections == 2


def test_pool_limits_number_and_age_of_kept_connections() -> None:
    class Kept:
        kept_at = 0.0
        open = True

        def is_usable(self) -> bool:
            return self.open

        def close(self) -> None:
            self.open = False

    pool, kept = ConnectionPool(size=2, idle_s=0.1), [Kept() for _ in range(3)]
    for number, connection in enumerate(kept):
        pool.put(("http", "host", number), connection)  # type: ignore[arg-type]
    assert [connection.open for connection in kept] == [False, True, True]
    assert pool.get(("http", "host", 0)) is None
    assert pool.get(("http", "host", 1)) is kept[1]
    time.sleep(0.15)
    assert pool.get(("http", "host", 2)) is None
    assert not kept[2].open


def test_body_pieces_are_at_most_256_kib() -> None:
    with (
        MediaServer({"a": bytes(1_000_000)}) as server,
        local_http_client().download(server.url("a"), limits=DownloadLimits(Deadline(5), 1_000_000)) as body,
    ):
        assert max(len(piece) for piece in body.chunks()) <= 262_144


def test_query_is_kept_and_other_characters_are_percent_encoded() -> None:
    with MediaServer() as server:
        server.answers["a b"] = Answer(200, body=b"x")
        download(local_http_client(), f"http://127.0.0.1:{server.port}/a b?sig=%2F+ä&x=1#part")
        assert server.requests[0].path == "/a%20b?sig=%2F+%C3%A4&x=1"
        assert server.requests[0].headers["accept-encoding"] == "identity"


@pytest.mark.parametrize("value", ["a\r\nX: y", "a\nb", "a\rb", "a\0b"])
def test_header_with_a_line_break_is_refused(value: str) -> None:
    with MediaServer({"a": b"a"}) as server:
        with pytest.raises(ValueError, match="line break"):
            download(local_http_client(), server.url("a"), credentials={"Authorization": value})
        assert server.requests == []


@pytest.mark.parametrize("slots", [pytest.param(1, id="HTTP-16-one-slot"), pytest.param(3, id="HTTP-16-three-slots")])
def test_stalling_host_does_not_delay_other_hosts(slots: int) -> None:
    """A stalling host occupies only its own slots."""
    with HostileServer(stalls()) as slow, MediaServer({"a": b"quick"}, address="127.0.0.2") as quick:
        http_client = local_http_client(per_host=slots)
        with ThreadPoolExecutor(6) as threads:
            waiting = [threads.submit(download, http_client, slow.url(), deadline_s=0.8) for _ in range(6)]
            time.sleep(0.3)
            assert slow.connections == slots
            start = time.monotonic()
            assert download(http_client, quick.url("a")) == b"quick"
            assert time.monotonic() - start < 0.3
            errors = [task.exception() for task in waiting]
        codes = {error.code for error in errors if isinstance(error, RetryableError)}
        assert len(errors) == 6
        assert codes <= {Code.FETCH_TIMEOUT, Code.FETCH_BUSY}
        assert Code.FETCH_TIMEOUT in codes


def test_waiting_for_a_slot_costs_neither_deadline_nor_attempt() -> None:
    with MediaServer({"a": b"a"}, delay_s=0.6) as server:
        http_client = local_http_client(per_host=1)
        with ThreadPoolExecutor(6) as threads:
            tasks = [threads.submit(download, http_client, server.url("a"), deadline_s=0.9) for _ in range(6)]
            errors = [task.exception() for task in tasks]
        assert sum(error is None for error in errors) >= 3  # three requests of 0.6 s fit into the 2 s that each waits
        assert all(error is None or isinstance(error, BusyError) for error in errors)


@pytest.mark.parametrize("hosts", [pytest.param(500, id="HTTP-16-500-hosts")])
def test_many_stalling_hosts_reach_their_deadline_and_leak_no_resources(hosts: int) -> None:
    http_client = local_http_client(resolver=Names(["127.0.0.1"]))
    before = psutil.Process().num_fds()
    with HostileServer(stalls()) as slow:

        def code(number: int) -> Code:
            with pytest.raises(RetryableError) as error:
                download(http_client, slow.url(host=f"h{number}.example"), deadline_s=0.5)
            return error.value.code

        start = time.monotonic()
        with ThreadPoolExecutor(100) as threads:
            assert set(threads.map(code, range(hosts))) == {Code.FETCH_TIMEOUT}
        assert time.monotonic() - start < 10
    assert psutil.Process().num_fds() <= before
    assert "resolve" not in {thread.name for thread in threading.enumerate()}


def test_unresolved_name_is_retryable() -> None:
    def unknown(host: str, port: int) -> list[str]:
        raise socket.gaierror(socket.EAI_NONAME, "unknown")

    for resolver in (unknown, Names([])):
        with pytest.raises(RetryableError) as error:
            download(local_http_client(resolver=resolver), "http://media.example/")
        assert error.value.code == Code.FETCH_DNS


def test_unresponsive_resolver_times_out() -> None:
    release = threading.Event()

    def slow(host: str, port: int) -> list[str]:
        release.wait(10)
        return []

    start = time.monotonic()
    with pytest.raises(RetryableError, match="fetch_dns"):
        download(local_http_client(resolver=slow), "http://media.example/", deadline_s=0.3)
    assert time.monotonic() - start < 1
    release.set()


def test_refused_connection_is_retryable() -> None:
    with pytest.raises(RetryableError) as error:
        download(local_http_client(), f"http://127.0.0.1:{closed_port()}/")
    assert error.value.code == Code.FETCH_REFUSED


def test_next_address_of_a_name_is_tried() -> None:
    with MediaServer({"a": b"a"}, address="127.0.0.3") as server:
        http_client = local_http_client(resolver=Names(["127.0.0.2", "127.0.0.3"]))
        assert download(http_client, server.url("a", host="media.example")) == b"a"


def test_client_connects_to_an_allowed_address_of_a_name() -> None:
    with MediaServer({"a": b"a"}) as server:
        http_client = local_http_client(resolver=Names(["10.1.2.3", "127.0.0.1"]))
        assert download(http_client, server.url("a", host="media.example")) == b"a"


def test_localhost_is_resolved_without_the_resolver() -> None:
    with MediaServer({"a": b"a"}) as server:
        http_client = local_http_client(resolver=Names([]))
        assert download(http_client, server.url("a", host="localhost")) == b"a"


def test_post_sends_its_body_and_returns_the_status() -> None:
    with MediaServer() as server:
        server.answers["bad"] = Answer(500, body=b"secret of the target" * 100_000)
        http_client = local_http_client()
        assert http_client.post(server.url("hook"), b'{"a":1}', headers={"webhook-id": "1"}, timeout_s=5).status == 204
        assert http_client.post(server.url("bad"), b"", headers={}, timeout_s=5).status == 500
        assert http_client.post(server.url("hook"), b"2", headers={}, timeout_s=5).status == 204
        assert [request.body for request in server.requests] == [b'{"a":1}', b"", b"2"]
        assert server.requests[0].headers["webhook-id"] == "1"
        assert server.connections == 2  # the second body is too long to be drained, so its connection is closed


@pytest.mark.parametrize(
    ("script", "code"),
    [
        (stalls(), Code.FETCH_TIMEOUT),
        (lambda peer: peer.reset(), Code.FETCH_RESET),
        (says(b"no http"), Code.FETCH_PROTOCOL),
        (says(head("Content-Length: 1", "Content-Length: 2")), Code.FETCH_PROTOCOL),
    ],
)
def test_failed_post_raises_the_matching_error(script: Any, code: Code) -> None:
    with HostileServer(script) as server:
        with pytest.raises((PermanentError, RetryableError)) as error:
            local_http_client().post(server.url(), b"{}", headers={}, timeout_s=0.5)
        assert error.value.code == code


def test_post_returns_the_status_of_a_truncated_response() -> None:
    with HostileServer(says(head("Content-Length: 10", status="201 Created"), b"x")) as server:
        assert local_http_client().post(server.url(), b"{}", headers={}, timeout_s=5).status == 201
