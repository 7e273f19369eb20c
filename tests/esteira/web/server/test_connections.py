"""Senders that are slow or say nothing do not hold up those who have something to say."""

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

from esteira.web.server import connections
from tests.support.system import RunningSystem
from tests.support.valkey import free_port
from tests.support.waiting import wait_until
from tests.support.web_server import TOKEN, WebServer, web_server

GOOD = {"session": "s", "url": "http://127.0.0.1:9/file", "kind": "image"}
HEAD = (
    f"POST /hooks/media HTTP/1.1\r\nHost: a\r\nAuthorization: Bearer {TOKEN}\r\nContent-Length: 1000\r\n\r\n"
).encode()


def quick_answers(server: WebServer, seconds: float) -> list[float]:
    """How long each of many requests took that were made within so long; all of them are accepted."""
    took = []
    until = time.monotonic() + seconds
    while (began := time.monotonic()) < until:
        assert server.post_media({**GOOD, "message_id": str(began)}).status == 202
        took.append(time.monotonic() - began)
    return took


@contextlib.contextmanager
def trickling(held: list[socket.socket]) -> Iterator[None]:
    """A byte a second on each of these connections, until the server hangs up."""
    done = threading.Event()

    def trickle() -> None:
        while not done.wait(1):
            for connection in held:
                with contextlib.suppress(OSError):
                    connection.send(b"x")

    thread = threading.Thread(target=trickle)
    thread.start()
    try:
        yield
    finally:
        done.set()
        thread.join()
        for connection in held:
            connection.close()


def everything_from(connection: socket.socket, seconds: float) -> bytes:
    """What the server says until it hangs up; a timeout if it does not."""
    connection.settimeout(seconds)
    said = b""
    with contextlib.suppress(ConnectionResetError):
        while piece := connection.recv(4096):
            said += piece
    return said


def test_fifty_bodies_of_a_byte_a_second_delay_nobody_and_end_in_time(system: RunningSystem) -> None:
    with web_server(system, hook_body_timeout_s="4") as server:
        quick_answers(server, 0.5)
        alone = quick_answers(server, 2)
        slow = [server.connect() for _ in range(50)]
        for connection in slow:
            connection.sendall(HEAD)
        with trickling(slow):
            beside = quick_answers(server, 3)
            answers = [everything_from(connection, 5) for connection in slow]
    assert statistics.median(beside) < 3 * statistics.median(alone) + 0.02
    assert max(beside) < 2
    for answer in answers:
        assert answer.startswith(b"HTTP/1.1 408 ")
        assert b"connection: close" in answer.lower()
        assert b'"bad_payload"' in answer


def test_a_thousand_idle_connections_leave_room_for_those_who_ask(system: RunningSystem) -> None:
    with web_server(system, files=400) as server, contextlib.ExitStack() as idle:
        for _ in range(1000):
            connection = idle.enter_context(server.connect())
            connection.setblocking(False)
        assert statistics.median(quick_answers(server, 2)) < 1
    assert "out of system resource" not in server.log_text()


Patient = Callable[[], socket.socket]


async def echo(scope: Any, receive: Any, send: Any) -> None:
    """An app that answers at once, whatever the body."""
    await send({"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"2")]})
    await send({"type": "http.response.body", "body": b"ok"})


@pytest.fixture
def patient(monkeypatch: pytest.MonkeyPatch) -> Iterator[Patient]:
    """A server with little patience and little room, in a thread; gives connections to it."""
    monkeypatch.setattr(connections, "HEAD_TIMEOUT_S", 0.4)
    monkeypatch.setattr(connections, "MAX_CONNECTIONS", 3)
    port = free_port()
    config = uvicorn.Config(echo, port=port, http=connections.LimitedHttpProtocol, lifespan="off", log_config=None)
    server = uvicorn.Server(config)
    thread = threading.Thread(target=server.run, daemon=True)
    thread.start()
    wait_until(lambda: server.started, 10)
    known = server.server_state.connections

    def connect() -> socket.socket:
        connection = opened.enter_context(socket.create_connection(("127.0.0.1", port), timeout=5))
        mine = connection.getsockname()
        # The kernel connects before the server knows of it, and the order in which it learns of them counts.
        wait_until(lambda: any(mine == other.client for other in list(known)), 5)
        return connection

    with contextlib.ExitStack() as opened:
        yield connect
        server.should_exit = True
        thread.join(10)


REQUEST = b"GET / HTTP/1.1\r\nHost: a\r\n\r\n"


def answered(connection: socket.socket, *, times: int = 1) -> bool:
    """Whether so many whole answers come."""
    said = b""
    while said.count(b"\r\n\r\nok") < times and (piece := connection.recv(4096)):
        said += piece
    return said.count(b"\r\n\r\nok") == times


@pytest.mark.parametrize("start", [b"", b"G", REQUEST[:-1], b"GET / HTTP/1.1\r\nHost: a\r\nX: "])
def test_a_head_that_does_not_come_ends_the_connection(patient: Patient, start: bytes) -> None:
    connection = patient()
    connection.sendall(start)
    began = time.monotonic()
    with trickling_fast(connection):
        assert everything_from(connection, 5) == b""
    assert 0.3 < time.monotonic() - began < 2


@contextlib.contextmanager
def trickling_fast(connection: socket.socket) -> Iterator[None]:
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


def test_a_kept_connection_may_rest_and_ask_again(patient: Patient) -> None:
    connection = patient()
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


def test_a_second_head_has_no_more_time_than_the_first(patient: Patient) -> None:
    connection = patient()
    connection.sendall(REQUEST)
    assert answered(connection)
    with trickling_fast(connection):
        assert everything_from(connection, 5) == b""


def test_a_body_that_nobody_wants_is_not_waited_for(patient: Patient) -> None:
    connection = patient()
    connection.sendall(b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 1000000\r\n\r\n")
    assert answered(connection)
    began = time.monotonic()
    with trickling_fast(connection):
        assert everything_from(connection, 5) == b""
    assert time.monotonic() - began < 2


def test_the_one_that_idles_longest_makes_room(patient: Patient, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(connections, "HEAD_TIMEOUT_S", 60)
    first, second, third = (patient() for _ in range(3))
    for connection in (second, first):
        connection.sendall(REQUEST)
        assert answered(connection)
    fourth = patient()
    fourth.sendall(REQUEST)
    assert answered(fourth)
    assert everything_from(third, 5) == b""
    for connection in (first, second):
        connection.sendall(REQUEST)
        assert answered(connection)
