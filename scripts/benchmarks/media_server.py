"""A media server that is never the bottleneck: one process, epoll, files sent from the page cache by sendfile(2).

`python -m scripts.benchmarks.media_server FOLDER DELAY_S HOST…` serves the files of a folder on a free port of these
loopback addresses and prints the port. `GET /-/counts` returns the number of requests for each file.
"""

from __future__ import annotations

import contextlib
import heapq
import itertools
import json
import os
import select
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from actors.middleware.parent_death import end_with_parent
from scripts.benchmarks.machine import BenchmarkError

COUNTS_PATH = "-/counts"
SEND_BUFFER_BYTES = 1 << 20  # so that one sendfile() sends nearly every file whole
MAX_HEAD_BYTES = 1 << 16
TYPES = {
    "jpg": "image/jpeg",
    "webp": "image/webp",
    "ogg": "audio/ogg",
    "wav": "audio/wav",
    "mp4": "video/mp4",
    "pdf": "application/pdf",
}


@dataclass
class Client:
    """One connection: the request bytes received so far, and the file that is being sent."""

    socket: socket.socket
    request: bytes = b""
    file: int = -1
    offset: int = 0
    size: int = 0
    closing: bool = False


class Server:
    """Serves the files of a folder, each after `delay_s`."""

    def __init__(self, folder: Path, hosts: Sequence[str], *, delay_s: float) -> None:
        self._folder = os.fspath(folder)
        self._delay_s = delay_s
        self._epoll = select.epoll()
        self._clients: dict[int, Client] = {}
        self._due: list[tuple[float, int, Client]] = []
        self._numbers = itertools.count()
        self.counts: Counter[str] = Counter()
        first = _listen(hosts[0], 0)
        self.port = int(first.getsockname()[1])
        sockets = [first, *(_listen(host, self.port) for host in hosts[1:])]
        self._listeners = {listener_socket.fileno(): listener_socket for listener_socket in sockets}
        for number in self._listeners:
            self._epoll.register(number, select.EPOLLIN)

    def serve(self) -> None:
        """Serves until the process is killed."""
        while True:
            self._respond_due()
            wait = max(0.0, self._due[0][0] - time.monotonic()) if self._due else -1
            for number, _ in self._epoll.poll(wait):
                if number in self._listeners:
                    self._accept(self._listeners[number])
                elif number in self._clients:
                    self._continue(self._clients[number])

    def _respond_due(self) -> None:
        now = time.monotonic()
        while self._due and self._due[0][0] <= now:
            client = heapq.heappop(self._due)[2]
            if client.socket.fileno() >= 0:
                self._run_or_drop(self._respond, client)

    def _accept(self, listener: socket.socket) -> None:
        connection, _ = listener.accept()
        connection.setblocking(False)
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, SEND_BUFFER_BYTES)
        self._clients[connection.fileno()] = Client(connection)
        self._epoll.register(connection.fileno(), select.EPOLLIN)

    def _continue(self, client: Client) -> None:
        self._run_or_drop(self._send_rest if client.file >= 0 else self._read, client)

    def _run_or_drop(self, work: Callable[[Client], None], client: Client) -> None:
        try:
            work(client)
        except OSError:
            self._drop(client)

    def _read(self, client: Client) -> None:
        data = client.socket.recv(MAX_HEAD_BYTES)
        client.request += data
        if not data or len(client.request) > MAX_HEAD_BYTES:
            self._drop(client)
        elif client.request.endswith(b"\r\n\r\n"):
            if self._delay_s:
                due = time.monotonic() + self._delay_s
                heapq.heappush(self._due, (due, next(self._numbers), client))
            else:
                self._respond(client)

    def _respond(self, client: Client) -> None:
        request, client.request = client.request, b""
        client.closing = b"connection: close" in request.lower()
        name = request.split(b" ", 2)[1].partition(b"?")[0].decode("latin-1").lstrip("/")
        if name == COUNTS_PATH:
            body = json.dumps(self.counts).encode()
            client.socket.send(_head("200 OK", "application/json", len(body)) + body)
            self._finish(client)
            return
        self.counts[name] += 1
        self._send_file(client, name)

    def _send_file(self, client: Client, name: str) -> None:
        try:
            file = os.open(f"{self._folder}/{name}", os.O_RDONLY) if name and "/" not in name else -1
        except FileNotFoundError:
            file = -1
        if file < 0:
            client.socket.send(_head("404 Not Found", "text/plain", 0))
            self._finish(client)
            return
        client.file, client.offset, client.size = file, 0, os.fstat(file).st_size
        head = _head("200 OK", TYPES.get(name.rpartition(".")[2], "application/octet-stream"), client.size)
        client.socket.send(head, socket.MSG_MORE if client.size else 0)
        self._send_rest(client)

    def _send_rest(self, client: Client) -> None:
        while client.offset < client.size:
            try:
                sent = os.sendfile(client.socket.fileno(), client.file, client.offset, client.size - client.offset)
            except BlockingIOError:
                self._epoll.modify(client.socket.fileno(), select.EPOLLOUT)
                return
            if not sent:
                raise OSError("the file was truncated while it was sent")
            client.offset += sent
        os.close(client.file)
        client.file = -1
        self._epoll.modify(client.socket.fileno(), select.EPOLLIN)
        self._finish(client)

    def _finish(self, client: Client) -> None:
        if client.closing:
            self._drop(client)

    def _drop(self, client: Client) -> None:
        self._clients.pop(client.socket.fileno(), None)
        client.socket.close()
        if client.file >= 0:
            os.close(client.file)
            client.file = -1


def _listen(host: str, port: int) -> socket.socket:
    return socket.create_server((host, port), backlog=1024)


def _head(status: str, mime: str, size: int) -> bytes:
    return f"HTTP/1.1 {status}\r\nContent-Type: {mime}\r\nContent-Length: {size}\r\n\r\n".encode()


@dataclass(frozen=True)
class MediaServer:
    """A running server: its base URL on each host, and its process id."""

    urls: tuple[str, ...]
    pid: int

    @property
    def url(self) -> str:
        return self.urls[0]

    def counts(self) -> dict[str, int]:
        """The number of requests for each file."""
        with urllib.request.urlopen(f"{self.url}/{COUNTS_PATH}", timeout=10) as response:  # noqa: S310  (our own server)
            return dict(json.load(response))


@contextlib.contextmanager
def media_server(folder: Path, *, delay_s: float = 0, hosts: Sequence[str] = ("127.0.0.1",)) -> Iterator[MediaServer]:
    """Runs a server of a folder's files in a separate process for the duration of the block.

    Raises:
        BenchmarkError: The server does not start.
    """
    command = [sys.executable, "-m", "scripts.benchmarks.media_server", str(folder.absolute()), str(delay_s), *hosts]
    process = subprocess.Popen(
        command,
        stdout=subprocess.PIPE,
        text=True,
        cwd=Path(__file__).parents[2],
        preexec_fn=partial(end_with_parent, signal.SIGKILL),  # noqa: PLW1509  (it takes no lock)
    )
    try:
        assert process.stdout
        port = process.stdout.readline().strip()
        if not port:
            raise BenchmarkError("the media server did not start")
        yield MediaServer(tuple(f"http://{host}:{port}" for host in hosts), process.pid)
    finally:
        process.kill()
        process.wait()


if __name__ == "__main__":
    server = Server(Path(sys.argv[1]), sys.argv[3:], delay_s=float(sys.argv[2]))
    print(server.port, flush=True)
    server.serve()
