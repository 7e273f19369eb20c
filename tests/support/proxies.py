"""Small proxies on loopback for tests: HTTP with CONNECT, also over TLS, and SOCKS 5."""

from __future__ import annotations

import base64
import contextlib
import ipaddress
import socket
import ssl
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field

from tests.support.hostile_server import HostileServer, Peer, Script


@dataclass
class Journal:
    """What a proxy was asked for: `destinations` as "host:port", and the heads of requests to it."""

    destinations: list[str] = field(default_factory=list)
    heads: list[bytes] = field(default_factory=list)


@contextlib.contextmanager
def http_proxy(*, login: str | None = None, tls: ssl.SSLContext | None = None) -> Iterator[tuple[int, Journal]]:
    """Runs an HTTP proxy that knows CONNECT only; yields its port and its journal. `login` is user:password."""
    journal = Journal()
    wanted = f"Proxy-Authorization: Basic {base64.b64encode((login or '').encode()).decode()}\r\n".encode()

    def script(peer: Peer) -> None:
        peer = _secured(peer, tls)
        head = peer.request()
        if not head:  # it only looked whether the port is open
            return
        journal.heads.append(head)
        if login and wanted not in head:
            peer.send(b'HTTP/1.1 407 Proxy Authentication Required\r\nProxy-Authenticate: Basic realm="x"\r\n\r\n')
            return
        method, authority, _ = head.split(b"\r\n")[0].decode().split(" ")
        if method != "CONNECT":
            peer.send(b"HTTP/1.1 405 Method Not Allowed\r\n\r\n")
            return
        host, _, port = authority.rpartition(":")
        _relay(peer, journal, host.strip("[]"), int(port), b"HTTP/1.1 200 Connection established\r\nVia: x\r\n\r\n")

    with HostileServer(script) as server:
        yield server.port, journal


@contextlib.contextmanager
def socks_proxy(*, login: str | None = None, names: dict[str, str] | None = None) -> Iterator[tuple[int, Journal]]:
    """Runs a SOCKS 5 proxy; yields its port and its journal. `names` are the addresses of names that it resolves."""
    journal = Journal()

    def script(peer: Peer) -> None:
        _, count = _exactly(peer, 2)
        methods = _exactly(peer, count)
        method = 2 if login else 0
        if method not in methods:
            peer.send(b"\x05\xff")
            return
        peer.send(bytes([5, method]))
        if login and not _logged_in(peer, login):
            return
        _, _, _, kind = _exactly(peer, 4)
        host = _host(peer, kind)
        port = int.from_bytes(_exactly(peer, 2), "big")
        journal.destinations.append(f"{host}:{port}")
        address = (names or {}).get(host, host)
        _relay(peer, None, address, port, b"\x05\x00\x00\x03\x05proxy\x00\x50")

    with HostileServer(script) as server:
        yield server.port, journal


def always(answer: bytes) -> Script:
    """A script for a faulty proxy that answers every request with these bytes, and then stays silent."""

    def script(peer: Peer) -> None:
        peer.socket.recv(65536)
        peer.send(answer)
        peer.wait()

    return script


def _relay(peer: Peer, journal: Journal | None, host: str, port: int, success: bytes) -> None:
    if journal:
        journal.destinations.append(f"{host}:{port}")
    with socket.create_connection((host, port), timeout=5) as server:
        peer.send(success)
        copy_both_ways(peer.socket, server)


def copy_both_ways(first: socket.socket, second: socket.socket) -> None:
    """Copies what each of two connections sends to the other, until both have ended."""
    threads = [threading.Thread(target=_copy, args=pair, daemon=True) for pair in ((first, second), (second, first))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()


def _copy(source: socket.socket, target: socket.socket) -> None:
    with contextlib.suppress(OSError):
        source.settimeout(None)
        while data := source.recv(65536):
            target.sendall(data)
    with contextlib.suppress(OSError):
        target.shutdown(socket.SHUT_RDWR)


def _secured(peer: Peer, tls: ssl.SSLContext | None) -> Peer:
    if tls is not None:
        peer.socket = tls.wrap_socket(peer.socket, server_side=True)
    return peer


def _exactly(peer: Peer, count: int) -> bytes:
    data = b""
    while len(data) < count and (piece := peer.socket.recv(count - len(data))):
        data += piece
    return data


def _logged_in(peer: Peer, login: str) -> bool:
    _exactly(peer, 1)
    user, password = (_exactly(peer, _exactly(peer, 1)[0]).decode() for _ in range(2))
    good = f"{user}:{password}" == login
    peer.send(bytes([1, 0 if good else 1]))
    return good


def _host(peer: Peer, kind: int) -> str:
    if kind == 3:
        return _exactly(peer, _exactly(peer, 1)[0]).decode()
    return str(ipaddress.ip_address(_exactly(peer, 4 if kind == 1 else 16)))
