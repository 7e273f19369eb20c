"""Hostile live clients affect only themselves."""

from __future__ import annotations

import contextlib
import json
import resource
import socket
import time
from collections.abc import Callable, Iterator

import psutil
import pytest
import websocket
from pydantic import SecretStr

from pipeline.http_client import HttpClient
from pipeline.notifiers import live
from pipeline.security.tokens import TokenSigner
from tests.support.events import outcome
from tests.support.node import NodeClients, clients
from tests.support.sockets import authenticated_socket, raw_socket
from tests.support.system import RunningSystem
from tests.support.waiting import wait_until
from tests.support.web_server import TOKEN, WebServer, web_server

MB = 1024 * 1024


@pytest.fixture
def server(system: RunningSystem) -> Iterator[WebServer]:
    with web_server(system) as running:
        yield running


@pytest.fixture
def well_behaved(server: WebServer) -> Iterator[NodeClients]:
    with clients(f"http://127.0.0.1:{server.port}", [{"token": TOKEN}], transports=["websocket"]) as listening:
        listening.wait("connect")
        yield listening


def publish(system: RunningSystem, *, times: int = 1, **fields: str) -> list[str]:
    """Publishes `times` events. Returns their ids."""
    send = live.build(system.settings, HttpClient())
    assert send
    given = [outcome(**fields) for _ in range(times)]
    for one in given:
        send(one)
    return [one.event_id for one in given]


def is_closed(one: websocket.WebSocket) -> bool:
    """Whether the server closes a connection within ten seconds."""
    with contextlib.suppress(websocket.WebSocketTimeoutException):
        try:
            while one.recv_data()[0] != websocket.ABNF.OPCODE_CLOSE:
                pass
        except (OSError, websocket.WebSocketConnectionClosedException):
            pass
        return True
    return False


def test_client_cannot_join_the_rooms_of_others(
    system: RunningSystem, server: WebServer, well_behaved: NodeClients
) -> None:
    token = TokenSigner(SecretStr(TOKEN)).session_token("shop", gateway="media", days=1)
    with authenticated_socket(server.port, token=token, room="session:other", session="other") as curious:
        for said in ("join", "enter_room", "subscribe", "connect", "disconnect", "message"):
            curious.send(f'42["{said}","session:other"]')
            curious.send(f'421["{said}",{{"room":"everything","session":"other"}}]')
        for said in ("40{", "451-[", "99", "b!!", "0{}", "\x00", "40/other,{}", "2" * 10_000):
            curious.send(said)
        curious.send_binary(b"\xff" * 1000)
        ids = publish(system, session="other") + publish(system, session="shop")
        curious.settimeout(3)
        heard = []
        with contextlib.suppress(websocket.WebSocketTimeoutException):
            while True:
                heard.append(curious.recv())
    assert [json.loads(one[2:])[1]["event_id"] for one in heard if one.startswith("42")] == ids[1:]
    wait_until(lambda: well_behaved.ids() == ids, 10)
    assert "Traceback" not in server.log_text()
    assert "session:other" not in server.log_text()


def test_flooding_clients_are_disconnected(system: RunningSystem, server: WebServer, well_behaved: NodeClients) -> None:
    before = memory_of(server)
    with (
        authenticated_socket(server.port, token=TOKEN) as flooding,
        authenticated_socket(server.port, token=TOKEN) as huge,
    ):
        with contextlib.suppress(OSError):
            for _ in range(20_000):
                flooding.send('42["flood"]')
        with contextlib.suppress(OSError):
            huge.send("40" + "x" * 3 * MB)
        assert is_closed(flooding)
        assert is_closed(huge)
    assert memory_of(server) - before < 30 * MB
    ids = publish(system)
    wait_until(lambda: well_behaved.ids() == ids, 10)
    assert "Traceback" not in server.log_text()


def test_unauthenticated_clients_are_disconnected(
    system: RunningSystem, server: WebServer, well_behaved: NodeClients
) -> None:
    with raw_socket(server.port, timeout_s=30) as silent, raw_socket(server.port, timeout_s=30) as wrong:
        wrong.send('40{"token":"wrong"}')
        assert wrong.recv().startswith("44{")
        assert is_closed(silent)
        assert is_closed(wrong)
    ids = publish(system)
    wait_until(lambda: well_behaved.ids() == ids, 10)
    assert not well_behaved.what("disconnect")  # the time limit of a request head does not apply to sockets


def test_authenticated_clients_replace_unauthenticated_ones(system: RunningSystem) -> None:
    with web_server(system, socket_clients="5") as server, contextlib.ExitStack() as opened:
        guests = [opened.enter_context(authenticated_socket(server.port, token=TOKEN)) for _ in range(2)]
        for _ in range(20):
            with contextlib.suppress(websocket.WebSocketBadStatusException):
                opened.enter_context(raw_socket(server.port))
            time.sleep(0.02)
        guests += [opened.enter_context(authenticated_socket(server.port, token=TOKEN)) for _ in range(3)]
        wait_until(lambda: refused(server), 20)
        [one] = publish(system)
        for guest in guests:
            assert one in guest.recv()


def refused(server: WebServer) -> bool:
    """Whether unauthenticated clients are refused."""
    with contextlib.suppress(websocket.WebSocketBadStatusException), raw_socket(server.port):
        return False
    return server.request("GET", "/socket.io/?EIO=4&transport=polling").status == 503


def test_clients_that_do_not_read_use_bounded_memory(make_system: Callable[..., RunningSystem]) -> None:
    system = make_system(event_history="5000")
    everything = {"token": TOKEN}
    with web_server(system) as server, clients(f"http://127.0.0.1:{server.port}", [everything]) as well_behaved:
        well_behaved.wait("connect")
        before = memory_of(server)
        with contextlib.ExitStack() as opened:
            for _ in range(10):
                deaf = opened.enter_context(authenticated_socket(server.port, token=TOKEN))
                deaf.sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
            ids = publish(system, times=4000, caption="x" * 4000)
            wait_until(lambda: well_behaved.ids() == ids, 60)
            wait_until(lambda: server.log_text().count("does not read") == 10, 60)
            assert memory_of(server) - before < 150 * MB


def test_other_origins_must_be_configured(system: RunningSystem) -> None:
    with web_server(system, socket_origins="https://app.example.com") as server:
        for origin, status in (
            ("https://evil.example", 400),
            ("null", 400),
            (f"http://127.0.0.1:{server.port}", 200),
            ("https://app.example.com", 200),
        ):
            reply = server.request("GET", "/socket.io/?EIO=4&transport=polling", headers={"Origin": origin})
            allowed = reply.headers.get("access-control-allow-origin")
            assert (reply.status, allowed) == (status, origin if status == 200 else None)
            assert "access-control-allow-credentials" not in reply.headers


def test_thousand_clients_get_every_event(system: RunningSystem, server: WebServer) -> None:
    if resource.getrlimit(resource.RLIMIT_NOFILE)[1] < 8192:
        pytest.skip("not so many file descriptors here")
    before = memory_of(server)
    auths = [{"token": TOKEN}] * 1000
    with clients(f"http://127.0.0.1:{server.port}", auths, transports=["websocket"], timeout=60_000) as listening:
        listening.wait("connect", 1000, within_s=90)
        assert server.request("GET", "/healthz").status == 200
        ids = publish(system, times=2)
        listening.wait("event", 2000, within_s=60)
        assert all(listening.ids(client) == ids for client in range(1000))
        assert memory_of(server) - before < 150 * MB


def memory_of(server: WebServer) -> int:
    return int(psutil.Process(server.process.pid).memory_info().rss)
