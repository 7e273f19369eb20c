"""Faulty requests, which anybody can send in numbers, leave few lines in the log."""

from __future__ import annotations

import contextlib
import socket
from collections.abc import Iterator
from typing import Any

import pytest

from tests.support.system import RunningSystem
from tests.support.waiting import wait_until
from tests.support.web_server import WebServer, web_server

HEAD = b"POST %s HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n%s\r\n"
CHUNK = b"1\r\nx\r\n"
UPGRADE = (
    b"GET /socket.io/?EIO=4&transport=websocket HTTP/1.1\r\nHost: a\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
    b"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n\r\n"
)


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory, _shared_valkey: Any) -> Iterator[WebServer]:
    running = RunningSystem(tmp_path_factory.mktemp("web"), _shared_valkey.url, {})
    with web_server(running, dashboard="true") as started:
        yield started
    running.close()


def answer(connection: socket.socket) -> bytes:
    """What the server sends until it closes the connection."""
    connection.settimeout(8)
    parts = []
    with contextlib.suppress(ConnectionResetError):
        while part := connection.recv(65536):
            parts.append(part)
    return b"".join(parts)


def test_faulty_requests_are_logged_once_and_without_traceback(server: WebServer) -> None:
    before = len(server.log_text())
    for sent in [b"no HTTP\r\n\r\n"] * 20 + [HEAD % (b"/login", b"") + CHUNK] * 3:
        with server.connect() as connection:
            connection.sendall(sent)
            if sent.endswith(CHUNK):
                connection.sendall(b"no size\r\n")
            assert answer(connection).startswith(b"HTTP/1.1 400 ")
    for _ in range(3):
        with server.connect() as connection:
            connection.sendall(UPGRADE)
            connection.recv(65536)
            connection.sendall(b"\x81\x82\0\0\0\0\xff\xff")  # a text that is no UTF-8
            answer(connection)
    posted = server.request("POST", "/hooks/unknown")  # logged after the others
    assert posted.status == 404
    wait_until(lambda: "Invalid UTF-8" in server.log_text()[before:], 5)
    logged = server.log_text()[before:]
    assert logged.count("Invalid HTTP request") <= 1  # none, if another test had one in the last seconds
    assert logged.count("Invalid UTF-8") == 1
    assert "Traceback" not in logged


def test_login_form_with_too_many_fields_is_refused(server: WebServer) -> None:
    form = b"&".join([b"token=x"] * 9)
    reply = server.request("POST", "/login", form, headers={"Content-Type": "application/x-www-form-urlencoded"})
    assert (reply.status, reply.code) == (400, "bad_payload")
    assert "Traceback" not in server.log_text()
