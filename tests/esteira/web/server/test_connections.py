"""Slow and idle connections do not delay requests of others."""

from __future__ import annotations

import contextlib
import socket
import statistics
import threading
import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest
import uvicorn

from esteira.web.server import connections, file_limits
from tests.support.system import RunningSystem
from tests.support.waiting import wait_until
from tests.support.web_server import TOKEN, WebServer, web_server

GOOD = {"session": "s", "url": "http://127.0.0.1:9/file", "kind": "image"}
HEAD = (
    f"POST /hooks/media HTTP/1.1\r\nHost: a\r\nAuthorization: Bearer {TOKEN}\r\nContent-Length: 1000\r\n\r\n"
).encode()


def response_times(server: WebServer, seconds: float) -> list[float]:
    """The response times of requests made one after another for `seconds`. All of them are accepted."""
    took = []
    until = time.monotonic() + seconds
    while (started := time.monotonic()) < until:
        assert server.post_media({**GOOD, "message_id": str(started)}).status == 202
        took.append(time.monotonic() - started)
    return took


@contextlib.contextmanager
def trickling(slow: list[socket.socket]) -> Iterator[None]:
    """Sends a byte a second on each of these connections until the block ends."""
    done = threading.Event()

    def trickle() -> None:
        while not done.wait(1):
            for connection in slow:
                with contextlib.suppress(OSError):
                    connection.send(b"x")

    thread = threading.Thread(target=trickle)
    thread.start()
    try:
        yield
    finally:
        done.set()
        thread.join()
        for connection in slow:
            connection.close()


def read_until_closed(connection: socket.socket, seconds: float) -> bytes:
    """What the server sends until it closes the connection. Raises TimeoutError if it does not."""
    connection.settimeout(seconds)
    received = b""
    with contextlib.suppress(ConnectionResetError):
        while piece := connection.recv(4096):
            received += piece
    return received


def test_fifty_slow_bodies_delay_no_other_request_and_time_out(system: RunningSystem) -> None:
    with web_server(system, hook_body_timeout_s="4") as server:
        response_times(server, 0.5)
        alone = response_times(server, 2)
        slow = [server.connect() for _ in range(50)]
        for connection in slow:
            connection.sendall(HEAD)
        with trickling(slow):
            meanwhile = response_times(server, 3)
            answers = [read_until_closed(connection, 5) for connection in slow]
    assert statistics.median(meanwhile) < 3 * statistics.median(alone) + 0.02
    assert max(meanwhile) < 2
    for answer in answers:
        assert answer.startswith(b"HTTP/1.1 408 ")
        assert b"connection: close" in answer.lower()
        assert b'"bad_payload"' in answer


def test_a_thousand_idle_connections_leave_room_for_requests(system: RunningSystem) -> None:
    # 1024 descriptors: 512 connections, up to 384 that are accepted at once before older ones are closed, and the work.
    with web_server(system, files=1024) as server, contextlib.ExitStack() as idle:
        for _ in range(1000):
            connection = idle.enter_context(server.connect())
            connection.setblocking(False)
        assert statistics.median(response_times(server, 2)) < 1
    assert "no file descriptors left" not in server.log_text()


Connect = Callable[[], socket.socket]


async def echo(scope: Any, receive: Any, send: Any) -> None:
    """An app that answers at once, without reading the body."""
    await send({"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"2")]})
    await send({"type": "http.response.body", "body": b"ok"})


@pytest.fixture
def connect(monkeypatch: pytest.MonkeyPatch) -> Iterator[Connect]:
    """Connects to a server in a thread with a short head timeout and at most three connections."""
    monkeypatch.setattr(connections, "HEAD_TIMEOUT_S", 0.4)
    monkeypatch.setattr(file_limits, "MAX_CONNECTIONS", 4)  # three of one address
    listener = socket.create_server(("127.0.0.1", 0))  # bound here: a free port could be taken until uvicorn binds it
    config = uvicorn.Config(echo, http=connections.LimitedHttpProtocol, lifespan="off", log_config=None)
    server = uvicorn.Server(config)
    thread = threading.Thread(target=server.run, args=([listener],), daemon=True)
    thread.start()
    wait_until(lambda: server.started, 10)
    known = server.server_state.connections

    def open_connection() -> socket.socket:
        connection = opened.enter_context(socket.create_connection(listener.getsockname(), timeout=5))
        address = connection.getsockname()
        # The kernel connects before the server accepts, and the order in which the server accepts matters here.
        wait_until(lambda: any(address == other.client for other in list(known)), 5)
        return connection

    with contextlib.ExitStack() as opened:
        yield open_connection
        server.should_exit = True
        thread.join(10)


REQUEST = b"GET / HTTP/1.1\r\nHost: a\r\n\r\n"


def answered(connection: socket.socket, *, times: int = 1) -> bool:
    """Whether this many complete responses arrive."""
    received = b""
    while received.count(b"\r\n\r\nok") < times and (piece := connection.recv(4096)):
        received += piece
    return received.count(b"\r\n\r\nok") == times


@pytest.mark.parametrize("start", [b"", b"G", REQUEST[:-1], b"GET / HTTP/1.1\r\nHost: a\r\nX: "])
def test_connection_is_closed_when_its_head_does_not_arrive(connect: Connect, start: bytes) -> None:
    connection = connect()
    connection.sendall(start)
    started = time.monotonic()
    with trickling_one(connection):
        assert read_until_closed(connection, 5) == b""
    assert 0.3 < time.monotonic() - started < 2


@contextlib.contextmanager
def trickling_one(connection: socket.socket) -> Iterator[None]:
    done = threading.Event()

    def trickle() -> None:
        while not done.wait(0.05):
            with contextlib.suppress(OSError):
                connection.send(b"x")

    thread = threading.Thread(target=trickle)
    thread.start()
    yield
    done.set()
    thread.join()


def test_kept_alive_connection_may_pause_between_requests(connect: Connect) -> None:
    connection = connect()
    for _ in range(3):
        connection.sendall(REQUEST)
        assert answered(connection)
        time.sleep(0.6)
    connection.sendall(REQUEST + REQUEST)
    assert answered(connection, times=2)
    time.sleep(0.6)
    connection.sendall(REQUEST[:5])
    time.sleep(0.1)
    connection.sendall(REQUEST[5:])
    assert answered(connection)


def test_second_head_has_the_same_time_limit_as_the_first(connect: Connect) -> None:
    connection = connect()
    connection.sendall(REQUEST)
    assert answered(connection)
    with trickling_one(connection):
        assert read_until_closed(connection, 5) == b""


def test_body_after_the_response_is_not_awaited(connect: Connect) -> None:
    connection = connect()
    connection.sendall(b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 1000000\r\n\r\n")
    assert answered(connection)
    started = time.monotonic()
    with trickling_one(connection):
        assert read_until_closed(connection, 5) == b""
    assert time.monotonic() - started < 2


def test_new_connection_replaces_the_longest_idle_one(connect: Connect, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(connections, "HEAD_TIMEOUT_S", 60)
    monkeypatch.setattr(connections, "NEW_S", 0)
    first, second, third = (connect() for _ in range(3))
    for connection in (second, first):
        connection.sendall(REQUEST)
        assert answered(connection)
    fourth = connect()
    fourth.sendall(REQUEST)
    assert answered(fourth)
    assert read_until_closed(third, 5) == b""
    for connection in (first, second):
        connection.sendall(REQUEST)
        assert answered(connection)


def test_burst_of_new_connections_closes_none_of_them(connect: Connect, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(connections, "HEAD_TIMEOUT_S", 60)
    monkeypatch.setattr(connections, "NEW_S", 60)
    for connection in [connect() for _ in range(20)]:
        connection.sendall(REQUEST)
        assert answered(connection)


def test_slow_bodies_of_known_senders_make_room_for_others(system: RunningSystem) -> None:
    with web_server(system, files=200) as server, contextlib.ExitStack() as stack:  # 100 connections
        for number in range(140):
            slow = stack.enter_context(socket.socket())
            slow.bind((f"127.0.0.{2 + number % 2}", 0))  # two addresses, as each has a share of its own
            slow.connect(("127.0.0.1", server.port))
            slow.sendall(HEAD)
        time.sleep(1.2)  # younger ones are not closed
        for number in range(20):
            assert server.post_media({**GOOD, "message_id": str(number)}).status == 202
