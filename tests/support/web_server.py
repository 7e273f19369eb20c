"""`python -m esteira.web` as a process, and requests to it as gateways send them."""

from __future__ import annotations

import contextlib
import http.client
import json
import os
import resource
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.support.gateway_senders import API_TOKEN as TOKEN
from tests.support.gateway_senders import SETTINGS
from tests.support.system import ROOT, RunningSystem
from tests.support.valkey import free_port
from tests.support.waiting import wait_until

SECRETS = {name.lower(): value for name, value in SETTINGS.items()}
WITHOUT_DASHBOARD = {"dashboard": "false"}  # starts sooner


@dataclass(frozen=True)
class Reply:
    """An answer. `headers` have lower-case names."""

    status: int
    headers: Mapping[str, str]
    body: bytes

    @property
    def json(self) -> Any:
        return json.loads(self.body)

    @property
    def code(self) -> str:
        """The code of the error in the body."""
        return str(self.json["error"]["code"])


class WebServer:
    """The running web app, at `127.0.0.1:port`."""

    def __init__(self, process: subprocess.Popen[bytes], port: int, log: Path) -> None:
        self.process = process
        self.port = port
        self._log = log

    def log_text(self) -> str:
        """Everything that the process has written to stdout and stderr."""
        return self._log.read_text(errors="replace")

    def request(
        self, method: str, path: str, body: Any = None, *, headers: Mapping[str, str] | None = None, timeout: float = 30
    ) -> Reply:
        """Sends one request on a new connection. A body that is an iterator is sent in chunks."""
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=timeout)
        with contextlib.closing(connection):
            with contextlib.suppress(BrokenPipeError):  # the response may arrive before the body is sent
                connection.request(method, path, body=body, headers=dict(headers or {}))
            answer = connection.getresponse()
            named = {name.lower(): value for name, value in answer.getheaders()}
            return Reply(answer.status, named, answer.read())

    def post_media(self, given: Any, **fields: str) -> Reply:
        """Posts to the generic hook: bytes as they are, other values as JSON."""
        body = given if isinstance(given, bytes) else json.dumps(given).encode()
        return self.request("POST", "/hooks/media", body, headers={"Authorization": f"Bearer {TOKEN}", **fields})

    def totals(self) -> dict[str, int]:
        figures = self.request("GET", "/stats", headers={"Authorization": f"Bearer {TOKEN}"}).json
        found: dict[str, int] = figures["totals"]
        return found

    def connect(self) -> socket.socket:
        """Opens a connection and sends nothing."""
        return socket.create_connection(("127.0.0.1", self.port), timeout=10)

    def terminate(self) -> int:
        """Sends SIGTERM to the process group, as platforms do. Returns the exit status."""
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self.process.pid, signal.SIGTERM)
        return self.process.wait(60)


@contextlib.contextmanager
def web_server(
    system: RunningSystem, *command: str, files: int | None = None, alive_s: float = 60, **settings: str
) -> Iterator[WebServer]:
    """The app with the settings of a system and these, once it is ready. `files` limits its file descriptors."""
    port = int(settings.pop("port", "0")) or free_port()
    env = system.env | {"PORT": str(port), "LOG_FORMAT": "json"}
    env |= {name.upper(): value for name, value in {**SECRETS, **WITHOUT_DASHBOARD, **settings}.items()}
    log = system.folder / f"web-{port}.log"

    started = [sys.executable, "-m", *(part.format(port=port) for part in command or ("esteira.web",))]
    with log.open("wb") as out:
        process = subprocess.Popen(started, cwd=ROOT, env=env, stdout=out, stderr=out, start_new_session=True)
    if files is not None:
        resource.prlimit(process.pid, resource.RLIMIT_NOFILE, (files, files))
    server = WebServer(process, port, log)
    try:
        wait_until(lambda: _answers(server), alive_s)
        yield server
    finally:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait(10)


def _answers(server: WebServer) -> bool:
    assert server.process.poll() is None, server.log_text()
    try:
        return server.request("GET", "/healthz", timeout=2).status == 200
    except OSError:
        return False
