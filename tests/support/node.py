"""Node with the packages of tests/node: Socket.IO's own clients, and a server with its Redis adapter."""

from __future__ import annotations

import fcntl
import hashlib
import json
import os
import shutil
import subprocess
import tempfile
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from tests.conftest import missing
from tests.support.system import ROOT
from tests.support.waiting import wait_until

FOLDER = ROOT / "tests" / "node"


def node_folder() -> Path:
    """tests/node with its packages as the lock has them; they are fetched when that has changed."""
    if not (shutil.which("node") and shutil.which("npm")):
        missing("node with npm")
    wanted = hashlib.sha256((FOLDER / "package-lock.json").read_bytes()).hexdigest()
    mark = FOLDER / "node_modules" / ".complete"
    lock = Path(tempfile.gettempdir()) / f"{hashlib.sha256(str(FOLDER).encode()).hexdigest()[:16]}.lock"
    with lock.open("w") as held:  # all test processes of this machine come here
        fcntl.flock(held, fcntl.LOCK_EX)
        if not (mark.exists() and mark.read_text() == wanted):
            command = ["npm", "ci", "--no-progress", "--loglevel=error"]
            done = subprocess.run(command, cwd=FOLDER, capture_output=True, text=True, timeout=200, check=False)
            if done.returncode:
                missing(f"what npm fetches ({done.stderr.strip()[-300:]})")
            mark.write_text(wanted)
    return FOLDER


class NodeClients:
    """A Node process that tells lines of JSON."""

    def __init__(self, process: subprocess.Popen[str]) -> None:
        self._process = process
        self.told: list[dict[str, Any]] = []
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    def _read(self) -> None:
        assert self._process.stdout
        for line in self._process.stdout:
            self.told.append(json.loads(line))

    def act(self, act: str, client: int = 0, *args: Any) -> None:
        """`drop` its connection, `emit` an event, tell its `transport`."""
        assert self._process.stdin
        self._process.stdin.write(json.dumps({"act": act, "client": client, "args": args}) + "\n")
        self._process.stdin.flush()

    def what(self, what: str, client: int | None = None) -> list[dict[str, Any]]:
        """What it told of this kind, in order."""
        return [told for told in self.told if told["what"] == what and client in {None, told["client"]}]

    def ids(self, client: int = 0) -> list[str]:
        """The event ids that a client got, in order."""
        return [told["id"] for told in self.what("event", client) if told.get("id")]

    def names(self, client: int = 0) -> list[str]:
        return [told["name"] for told in self.what("event", client)]

    def wait(self, what: str, n: int = 1, *, client: int | None = None, within_s: float = 30) -> list[dict[str, Any]]:
        """What it told of this kind, once it is so much."""
        wait_until(lambda: len(self.what(what, client)) >= n, within_s)
        return self.what(what, client)


@contextmanager
def clients(url: str, auths: Sequence[dict[str, Any]], *, whole: bool = False, **options: Any) -> Iterator[NodeClients]:
    """Socket.IO clients for the length of the block, one for each of these auths; `whole` tells whole payloads."""
    given = {"url": url, "clients": list(auths), "options": options, "whole": whole}
    with running("listen.mjs", json.dumps(given)) as process:
        yield NodeClients(process)


@contextmanager
def node_server(redis_url: str, *, namespace: str = "/", key: str = "socket.io") -> Iterator[str]:
    """A Socket.IO server with the Redis adapter for the length of the block; its URL."""
    with running("server.mjs", redis_url, namespace, key) as process:
        assert process.stdout
        yield f"http://127.0.0.1:{int(process.stdout.readline())}"


@contextmanager
def running(script: str, *arguments: str, env: dict[str, str] | None = None) -> Iterator[subprocess.Popen[str]]:
    """A script of tests/node for the length of the block."""
    command = ["node", script, *arguments]
    pipe = subprocess.PIPE
    surroundings = os.environ | (env or {})
    process = subprocess.Popen(command, cwd=node_folder(), env=surroundings, stdin=pipe, stdout=pipe, text=True)
    try:
        yield process
    finally:
        process.kill()
        process.wait(10)
