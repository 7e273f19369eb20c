"""Node programs of tests/node (Socket.IO clients, a Socket.IO server with the Redis adapter), and the Node client."""

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
CLIENT = ROOT / "clients" / "node"


def node_folder() -> Path:
    """The path of tests/node, with its packages."""
    return with_packages(FOLDER)


def with_packages(folder: Path) -> Path:
    """The folder. Installs the packages of its lock file if the lock file has changed."""
    if not (shutil.which("node") and shutil.which("npm")):
        missing("node with npm")
    lock_hash = hashlib.sha256((folder / "package-lock.json").read_bytes()).hexdigest()
    mark = folder / "node_modules" / ".complete"
    with _lock(folder):
        if not (mark.exists() and mark.read_text() == lock_hash):
            command = ["npm", "ci", "--no-progress", "--loglevel=error"]
            done = subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=200, check=False)
            if done.returncode:
                missing(f"npm packages ({done.stderr.strip()[-300:]})")
            mark.write_text(lock_hash)
    return folder


def packed_client() -> Path:
    """The file that `npm pack` makes of clients/node. It is built again if a source has changed."""
    sources = sorted(path for path in (with_packages(CLIENT) / "src").rglob("*.ts"))
    sources += [CLIENT / name for name in ("package.json", "build.mjs", "tsconfig.json", "tsconfig.cjs.json")]
    digest = hashlib.sha256(b"".join(path.read_bytes() for path in sources)).hexdigest()[:16]
    folder = CLIENT / "node_modules" / ".packed" / digest
    with _lock(CLIENT):
        if not (folder / ".complete").exists():
            folder.mkdir(parents=True, exist_ok=True)
            command = ["npm", "pack", "--silent", "--pack-destination", str(folder)]
            done = subprocess.run(command, cwd=CLIENT, capture_output=True, text=True, timeout=200, check=False)
            assert done.returncode == 0, done.stdout + done.stderr
            (folder / ".complete").touch()
    [packed] = folder.glob("*.tgz")
    return packed


def add_client(project: Path) -> Path:
    """Unpacks the client into a project, as npm does; returns the module that `import` finds."""
    package = project / "node_modules" / "esteira-client"
    package.mkdir(parents=True)
    command = ["tar", "-xzf", str(packed_client()), "-C", str(package), "--strip-components=1"]
    subprocess.run(command, check=True, timeout=60)
    return package / "dist" / "esm" / "index.js"


@contextmanager
def _lock(folder: Path) -> Iterator[None]:
    # Other test processes use the same folder.
    path = Path(tempfile.gettempdir()) / f"{hashlib.sha256(str(folder).encode()).hexdigest()[:16]}.lock"
    with path.open("w") as held:
        fcntl.flock(held, fcntl.LOCK_EX)
        yield


class NodeClients:
    """A Node process with Socket.IO clients, which reports in lines of JSON."""

    def __init__(self, process: subprocess.Popen[str]) -> None:
        self._process = process
        self.reports: list[dict[str, Any]] = []
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    def _read(self) -> None:
        assert self._process.stdout
        for line in self._process.stdout:
            self.reports.append(json.loads(line))

    def act(self, act: str, client: int = 0, *args: Any) -> None:
        """Makes a client `drop` its connection, `emit` an event or report its `transport`."""
        assert self._process.stdin
        self._process.stdin.write(json.dumps({"act": act, "client": client, "args": args}) + "\n")
        self._process.stdin.flush()

    def what(self, what: str, client: int | None = None) -> list[dict[str, Any]]:
        """The reports of this kind, in order."""
        return [report for report in self.reports if report["what"] == what and client in {None, report["client"]}]

    def ids(self, client: int = 0) -> list[str]:
        """The ids of the events that a client received, in order."""
        return [report["id"] for report in self.what("event", client) if report.get("id")]

    def names(self, client: int = 0) -> list[str]:
        return [report["name"] for report in self.what("event", client)]

    def wait(self, what: str, n: int = 1, *, client: int | None = None, within_s: float = 30) -> list[dict[str, Any]]:
        """The reports of this kind, once there are `n`."""
        wait_until(lambda: len(self.what(what, client)) >= n, within_s)
        return self.what(what, client)


@contextmanager
def clients(url: str, auths: Sequence[dict[str, Any]], *, whole: bool = False, **options: Any) -> Iterator[NodeClients]:
    """Runs Socket.IO clients, one for each auth. With `whole` they report whole payloads."""
    arguments = {"url": url, "clients": list(auths), "options": options, "whole": whole}
    with running("listen.mjs", json.dumps(arguments)) as process:
        yield NodeClients(process)


@contextmanager
def node_server(redis_url: str, *, namespace: str = "/", key: str = "socket.io") -> Iterator[str]:
    """Runs a Socket.IO server with the Redis adapter. Yields its URL."""
    with running("server.mjs", redis_url, namespace, key) as process:
        assert process.stdout
        yield f"http://127.0.0.1:{int(process.stdout.readline())}"


@contextmanager
def running(script: str, *arguments: str, env: dict[str, str] | None = None) -> Iterator[subprocess.Popen[str]]:
    """Runs a script of tests/node."""
    command = ["node", script, *arguments]
    pipe = subprocess.PIPE
    environment = os.environ | (env or {})
    process = subprocess.Popen(command, cwd=node_folder(), env=environment, stdin=pipe, stdout=pipe, text=True)
    try:
        yield process
    finally:
        process.kill()
        process.wait(10)
