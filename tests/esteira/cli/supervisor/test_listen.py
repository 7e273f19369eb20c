"""The sockets that the supervisor holds for the web app."""

from __future__ import annotations

import errno
import socket

import pytest

from esteira.cli.supervisor import listen as module
from esteira.cli.supervisor.listen import listen
from pipeline.errors import SettingsError


def close(listeners: list[socket.socket]) -> None:
    for listener in listeners:
        listener.close()


def test_connections_wait_until_somebody_accepts() -> None:
    [listener] = listeners = listen("127.0.0.1", 0)
    clients = [socket.create_connection(listener.getsockname(), timeout=5) for _ in range(200)]
    clients[0].sendall(b"early")
    accepted, _ = listener.accept()
    assert accepted.recv(5) == b"early"
    close([accepted, *clients, *listeners])


def test_port_in_use_is_the_setting_to_change() -> None:
    [taken] = listen("127.0.0.1", 0)
    port = taken.getsockname()[1]
    with pytest.raises(SettingsError, match=f"PORT: cannot listen on 127.0.0.1:{port}: Address already in use"):
        listen("127.0.0.1", port)
    taken.close()


@pytest.mark.parametrize("host", ["192.0.2.1", "no such host"])
def test_address_of_another_machine_is_the_setting_to_change(host: str) -> None:
    with pytest.raises(SettingsError, match="WEB_HOST: cannot listen on"):
        listen(host, 8000)


def test_name_with_an_address_that_this_machine_lacks_is_no_error(monkeypatch: pytest.MonkeyPatch) -> None:
    found = [(socket.AF_INET, socket.SOCK_STREAM, 6, "", (host, 0)) for host in ("192.0.2.1", "127.0.0.1")]
    monkeypatch.setattr(module.socket, "getaddrinfo", lambda *_args, **_options: found)
    [listener] = listeners = listen("localhost", 0)
    assert listener.getsockname()[0] == "127.0.0.1"
    close(listeners)


def test_one_address_in_use_leaves_no_socket_behind(monkeypatch: pytest.MonkeyPatch) -> None:
    [taken] = listen("127.0.0.2", 0)
    port = taken.getsockname()[1]
    found = [(socket.AF_INET, socket.SOCK_STREAM, 6, "", (host, port)) for host in ("127.0.0.1", "127.0.0.2")]
    monkeypatch.setattr(module.socket, "getaddrinfo", lambda *_args, **_options: found)
    with pytest.raises(SettingsError):
        listen("several", port)
    with socket.socket() as probe:
        assert probe.connect_ex(("127.0.0.1", port)) == errno.ECONNREFUSED
    taken.close()
