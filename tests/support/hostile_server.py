"""A loopback server for tests that runs a script for each connection, and a canary that must not be reached."""

from __future__ import annotations

import socket
import struct
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress


class Peer:
    """One client of a `HostileServer`, as a script sees it."""

    def __init__(self, sock: socket.socket, stopping: threading.Event) -> None:
        self.socket = sock
        self._stopping = stopping

    def request(self) -> bytes:
        """Reads the head of a request; empty when the client has gone."""
        head = b""
        while b"\r\n\r\n" not in head and (piece := self.socket.recv(65536)):
            head += piece
        return head

    def send(self, data: bytes) -> None:
        self.socket.sendall(data)

    def wait(self, seconds: float = 60) -> None:
        """Waits for so many seconds, or until the server stops, which ends the script."""
        if self._stopping.wait(seconds):
            raise ConnectionAbortedError

    def reset(self) -> None:
        """Ends the connection with RST instead of FIN."""
        self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.socket.close()


Script = Callable[[Peer], None]


class HostileServer:
    """Runs a script for each connection, and counts them. Scripts may be a list: one for each connection in turn."""

    def __init__(self, script: Script | Sequence[Script], *, address: str = "127.0.0.1", port: int = 0) -> None:
        self._scripts = [script] if callable(script) else list(script)
        self._listener = socket.socket(socket.AF_INET6 if ":" in address else socket.AF_INET)
        self._listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        self._listener.bind((address, port))
        self._listener.listen(256)
        self.address = address
        self.port: int = self._listener.getsockname()[1]
        self.connections = 0
        self._stopping = threading.Event()
        self._peers: list[socket.socket] = []

    def url(self, path: str = "/file", *, host: str | None = None) -> str:
        return f"http://{host or self.address}:{self.port}{path}"

    def __enter__(self) -> HostileServer:
        self._thread = threading.Thread(target=self._accept, daemon=True)
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stopping.set()
        with suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._thread.join(5)  # or it accepts another peer that is never closed
        self._listener.close()
        for peer in self._peers:
            with suppress(OSError):
                peer.shutdown(socket.SHUT_RDWR)
            peer.close()

    def _accept(self) -> None:
        while not self._stopping.is_set():
            try:
                peer, _ = self._listener.accept()
            except OSError:
                return
            script = self._scripts[min(self.connections, len(self._scripts) - 1)]
            self.connections += 1
            self._peers.append(peer)
            threading.Thread(target=self._run, args=(script, peer), daemon=True).start()

    def _run(self, script: Script, sock: socket.socket) -> None:
        with suppress(OSError), sock:
            script(Peer(sock, self._stopping))


def says(*parts: bytes) -> Script:
    """A script that reads a request, sends these parts and closes."""

    def script(peer: Peer) -> None:
        peer.request()
        for part in parts:
            peer.send(part)
        peer.socket.shutdown(socket.SHUT_WR)
        peer.socket.recv(1)  # an unread request would turn the close into a reset

    return script


def drips(first: bytes, drop: bytes = b"x", *, every_s: float = 0.05) -> Script:
    """A script that sends `first`, and then a drop again and again without end."""

    def script(peer: Peer) -> None:
        peer.request()
        peer.send(first)
        while True:
            peer.wait(every_s)
            peer.send(drop)

    return script


def floods(first: bytes, more: bytes) -> Script:
    """A script that sends `first`, and then `more` as fast as it can without end."""

    def script(peer: Peer) -> None:
        peer.request()
        peer.send(first)
        while True:
            peer.send(more)

    return script


def stalls(first: bytes = b"") -> Script:
    """A script that sends `first` and then nothing."""

    def script(peer: Peer) -> None:
        peer.request()
        peer.send(first)
        peer.wait()

    return script


def resets(first: bytes) -> Script:
    """A script that sends `first` and then resets the connection."""

    def script(peer: Peer) -> None:
        peer.request()
        peer.send(first)
        peer.wait(0.05)  # a reset overtakes bytes that the client has not read
        peer.reset()

    return script


def head(*lines: str, status: str = "200 OK") -> bytes:
    """The head of an answer."""
    return "\r\n".join([f"HTTP/1.1 {status}", *lines, "", ""]).encode()


@contextmanager
def canary() -> Iterator[HostileServer]:
    """A server on both loopback addresses that must not be reached: check its `connections`."""
    with HostileServer(lambda peer: peer.socket.close()) as v4:
        try:
            v6 = HostileServer(lambda peer: peer.socket.close(), address="::1", port=v4.port)
        except OSError:  # no IPv6 here
            yield v4
            return
        with v6:
            yield v4
            v4.connections += v6.connections
