"""What clients do to the live events that they should not do: it costs themselves, and nobody else."""

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


def told(system: RunningSystem, *, times: int = 1, **fields: str) -> list[str]:
    """Announces so many endings; their event ids."""
    tell = live.build(system.settings, HttpClient())
    assert tell
    given = [outcome(**fields) for _ in range(times)]
    for one in given:
        tell(one)
    return [one.event_id for one in given]


def ended(one: websocket.WebSocket) -> bool:
    """Whether the server ends a connection within ten seconds."""
    with contextlib.suppress(websocket.WebSocketTimeoutException):
        try:
            while one.recv_data()[0] != websocket.ABNF.OPCODE_CLOSE:
                pass
        except (OSError, websocket.WebSocketConnectionClosedException):
            pass
        return True
    return False


def test_garbage_and_the_rooms_of_others_get_a_client_nothing(
    system: RunningSystem, server: WebServer, well_behaved: NodeClients
) -> None:
    token = TokenSigner(SecretStr(TOKEN)).session_token("shop", days=1)
    with authenticated_socket(server.port, token=token, room="session:other", session="other") as nosy:
        for said in ("join", "enter_room", "subscribe", "connect", "disconnect", "message"):
            nosy.send(f'42["{said}","session:other"]')
            nosy.send(f'421["{said}",{{"room":"everything","session":"other"}}]')
        for said in ("40{", "451-[", "99", "b!!", "0{}", "\x00", "40/other,{}", "2" * 10_000):
            nosy.send(said)
        nosy.send_binary(b"\xff" * 1000)
        ids = told(system, session="other") + told(system, session="shop")
        nosy.settimeout(3)
        heard = []
        with contextlib.suppress(websocket.WebSocketTimeoutException):
            while True:
                heard.append(nosy.recv())
    assert [json.loads(one[2:])[1]["event_id"] for one in heard if one.startswith("42")] == ids[1:]
    wait_until(lambda: well_behaved.ids() == ids, 10)
    assert "Traceback" not in server.log_text()
    assert "session:other" not in server.log_text()


def test_floods_and_huge_messages_end_the_connection_they_come_by(
    system: RunningSystem, server: WebServer, well_behaved: NodeClients
) -> None:
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
        assert ended(flooding)
        assert ended(huge)
    assert memory_of(server) - before < 30 * MB
    ids = told(system)
    wait_until(lambda: well_behaved.ids() == ids, 10)
    assert "Traceback" not in server.log_text()


def test_who_does_not_say_who_it_is_may_not_stay(
    system: RunningSystem, server: WebServer, well_behaved: NodeClients
) -> None:
    with raw_socket(server.port, timeout_s=30) as silent, raw_socket(server.port, timeout_s=30) as wrong:
        wrong.send('40{"token":"wrong"}')
        assert wrong.recv().startswith("44{")
        assert ended(silent)
        assert ended(wrong)
    ids = told(system)
    wait_until(lambda: well_behaved.ids() == ids, 10)
    assert not well_behaved.what("disconnect")  # a socket may be silent for longer than a request's head


def test_strangers_make_room_for_who_has_a_token(system: RunningSystem) -> None:
    with web_server(system, socket_clients="5") as server, contextlib.ExitStack() as opened:
        guests = [opened.enter_context(authenticated_socket(server.port, token=TOKEN)) for _ in range(2)]
        for _ in range(20):
            with contextlib.suppress(websocket.WebSocketBadStatusException):
                opened.enter_context(raw_socket(server.port))
            time.sleep(0.02)
        guests += [opened.enter_context(authenticated_socket(server.port, token=TOKEN)) for _ in range(3)]
        wait_until(lambda: refused(server), 20)
        [one] = told(system)
        for guest in guests:
            assert one in guest.recv()


def refused(server: WebServer) -> bool:
    """Whether there is no room even for a stranger."""
    with contextlib.suppress(websocket.WebSocketBadStatusException), raw_socket(server.port):
        return False
    return server.request("GET", "/socket.io/?EIO=4&transport=polling").status == 503


def test_who_does_not_read_costs_a_bounded_amount_and_delays_nobody(make_system: Callable[..., RunningSystem]) -> None:
    system = make_system(event_history="5000")
    everything = {"token": TOKEN}
    with web_server(system) as server, clients(f"http://127.0.0.1:{server.port}", [everything]) as well_behaved:
        well_behaved.wait("connect")
        before = memory_of(server)
        with contextlib.ExitStack() as opened:
            for _ in range(10):
                deaf = opened.enter_context(authenticated_socket(server.port, token=TOKEN))
                deaf.sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
            ids = told(system, times=4000, caption="x" * 4000)
            wait_until(lambda: well_behaved.ids() == ids, 60)
            wait_until(lambda: server.log_text().count("does not read") == 10, 60)
            assert memory_of(server) - before < 150 * MB


def test_a_page_of_another_site_may_not_connect_unless_it_is_named(system: RunningSystem) -> None:
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


def test_a_thousand_clients_hear_of_it(system: RunningSystem, server: WebServer) -> None:
    if resource.getrlimit(resource.RLIMIT_NOFILE)[1] < 8192:
        pytest.skip("not so many file descriptors here")
    before = memory_of(server)
    auths = [{"token": TOKEN}] * 1000
    with clients(f"http://127.0.0.1:{server.port}", auths, transports=["websocket"], timeout=60_000) as listening:
        listening.wait("connect", 1000, within_s=90)
        assert server.request("GET", "/healthz").status == 200
        ids = told(system, times=2)
        listening.wait("event", 2000, within_s=60)
        assert all(listening.ids(client) == ids for client in range(1000))
        assert memory_of(server) - before < 150 * MB


def memory_of(server: WebServer) -> int:
    return int(psutil.Process(server.process.pid).memory_info().rss)
