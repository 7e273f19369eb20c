"""A web process that ends: it answers what it has accepted, and leaves the rest to the next one."""

from __future__ import annotations

import asyncio
import http.client
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest
from starlette.types import Receive, Scope, Send
from uvicorn import Config

from esteira.web.server.connections import LimitedHttpProtocol
from esteira.web.server.web_server import WebServer
from pipeline.service_manager.notify import ServiceManager
from tests.support.waiting import wait_until

SLOW_S = 0.5


async def app(scope: Scope, receive: Receive, send: Send) -> None:
    """Answers with the name of its process in the path's place; `/slow` after SLOW_S."""
    if scope["path"] == "/slow":
        await asyncio.sleep(SLOW_S)
    await send({"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"2")]})
    await send({"type": "http.response.body", "body": b"ok"})


class Manager(ServiceManager):
    """A service manager that remembers what it was told."""

    def __init__(self) -> None:
        super().__init__()
        self.told: list[str] = []

    def tell(self, *states: str) -> None:
        self.told += states


def new_server(manager: ServiceManager) -> WebServer:
    config: Any = Config(
        app,
        loop="asyncio",
        http=LimitedHttpProtocol,
        lifespan="off",
        log_config=None,
        backlog=1,  # shorter than allowed
    )
    return WebServer(config, manager)


class Running:
    """A server in a thread, on a listening socket that outlives it."""

    def __init__(self, listener: socket.socket) -> None:
        self.manager = Manager()
        config: Any = Config(app, loop="asyncio", http=LimitedHttpProtocol, lifespan="off", log_config=None, backlog=1)
        self.server = WebServer(config, self.manager)
        self._thread = threading.Thread(target=self.server.run, args=([listener.dup()],))
        self._thread.start()
        wait_until(lambda: self.server.started)

    def end(self) -> None:
        self.server.should_exit = True

    def join(self) -> None:
        self.end()
        self._thread.join(20)
        assert not self._thread.is_alive()


@pytest.fixture
def listener() -> Iterator[socket.socket]:
    with socket.socket() as made:
        made.bind(("127.0.0.1", 0))
        made.listen(200)
        yield made


@contextmanager
def connected(listener: socket.socket) -> Iterator[http.client.HTTPConnection]:
    connection = http.client.HTTPConnection(*listener.getsockname(), timeout=20)
    connection.connect()
    try:
        yield connection
    finally:
        connection.close()


def get(connection: http.client.HTTPConnection, path: str = "/") -> http.client.HTTPResponse:
    connection.request("GET", path)
    answer = connection.getresponse()
    assert answer.read() == b"ok"
    return answer


def ending(running: Running) -> None:
    running.end()
    wait_until(lambda: "STOPPING=1" in running.manager.told)


def test_request_on_a_kept_connection_is_answered_and_ends_it(listener: socket.socket) -> None:
    running = Running(listener)
    with connected(listener) as kept:
        assert get(kept).getheader("connection") is None
        ending(running)
        assert get(kept).getheader("connection") == "close"
    running.join()
    assert running.manager.told == ["READY=1", "STOPPING=1"]


def test_request_in_progress_is_answered_and_ends_its_connection(listener: socket.socket) -> None:
    running = Running(listener)
    with connected(listener) as busy:
        busy.request("GET", "/slow")
        wait_until(lambda: any(not each.idle for each in running.server.server_state.connections))
        running.end()
        assert busy.getresponse().getheader("connection") == "close"
    running.join()


def test_connection_without_a_request_is_closed_and_not_reset(listener: socket.socket) -> None:
    running = Running(listener)
    with connected(listener) as fresh, connected(listener) as idle:
        get(idle)
        ending(running)
        for connection in (fresh, idle):
            assert connection.sock.recv(10) == b""
    running.join()


def test_request_of_a_connection_that_was_just_accepted_is_answered(listener: socket.socket) -> None:
    running = Running(listener)
    with connected(listener) as fresh:
        wait_until(lambda: running.server.server_state.connections)
        ending(running)
        assert get(fresh).getheader("connection") == "close"
    running.join()


@pytest.mark.parametrize("turns", range(4))
def test_request_that_is_accepted_in_the_turn_of_the_end_is_answered(listener: socket.socket, turns: int) -> None:
    with connected(listener) as fresh:
        fresh.request("GET", "/")

        async def end_after_turns() -> None:
            server = new_server(Manager())
            server.config.load()
            server.lifespan = server.config.lifespan_class(server.config)
            await server.startup([listener.dup()])
            for _ in range(turns):
                await asyncio.sleep(0)
            await server.shutdown()

        asyncio.run(end_after_turns())
        running = Running(listener)  # answers what was not accepted
        assert fresh.getresponse().read() == b"ok"
        running.join()


def test_connections_wait_for_the_next_process(listener: socket.socket) -> None:
    first = Running(listener)
    first.join()
    with connected(listener) as waiting:
        waiting.request("GET", "/")
        second = Running(listener)
        assert waiting.getresponse().read() == b"ok"
        second.join()


def test_length_of_the_queue_is_left_alone(listener: socket.socket) -> None:
    running = Running(listener)  # with a backlog of 1
    running.join()
    clients = [socket.create_connection(listener.getsockname(), timeout=5) for _ in range(100)]
    for client in clients:
        client.close()


def test_no_request_is_lost_while_one_process_follows_the_other(listener: socket.socket) -> None:
    answered, failed, done = [], [], threading.Event()

    def ask() -> None:
        while not done.is_set():
            try:
                with connected(listener) as connection:
                    answered.append(get(connection))
            except OSError as error:
                failed.append(error)

    askers = [threading.Thread(target=ask) for _ in range(4)]
    for asker in askers:
        asker.start()
    running = Running(listener)
    for _ in range(5):
        count = len(answered)
        wait_until(lambda count=count: len(answered) > count + 5)
        following = Running(listener)
        running.join()
        running = following
    done.set()
    for asker in askers:
        asker.join(30)
    running.join()
    assert not failed
