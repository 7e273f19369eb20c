"""A throw-away PostgreSQL server on loopback, for tests that stop, kill and restart it."""

from __future__ import annotations

import os
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from uuid import uuid4

import psycopg

from tests.conftest import missing
from tests.support.valkey import free_port

USER, PASSWORD = "esteira", "password-of-the-catalogue"


def binaries() -> Path | None:
    """The directory of initdb and pg_ctl, which Debian does not add to the PATH."""
    on_path = shutil.which("initdb")
    found = [Path(on_path).parent] if on_path else sorted(Path("/usr/lib/postgresql").glob("*/bin"))
    return found[-1] if found else None


class PostgresServer:
    """One cluster in its own directory, which the unprivileged user of the package owns."""

    def __init__(self, folder: Path, tools: Path, *, host: str = "127.0.0.1", connections: int = 120) -> None:
        """The server listens on `host` and accepts its network."""
        self._folder, self._tools, self._host, self._connections = folder, tools, host, connections
        self.port = free_port()
        # The server refuses to run as root.
        self._as = ["runuser", "-u", "postgres", "--"] if os.geteuid() == 0 else []
        if self._as:
            shutil.chown(folder, "postgres")
        (folder / "password").write_text(PASSWORD)
        self._run(
            "initdb", "-D", self._data, "-U", USER, f"--pwfile={folder}/password", "-A", "scram-sha-256", "--no-sync"
        )
        with Path(self._data, "pg_hba.conf").open("a") as rules:
            rules.write("host all all samenet scram-sha-256\n")

    @property
    def _data(self) -> str:
        return str(self._folder / "data")

    @property
    def pid(self) -> int:
        return int(Path(self._data, "postmaster.pid").read_text().split()[0])

    def url(self, database: str = "postgres") -> str:
        return f"postgresql://{USER}:{PASSWORD}@{self._host}:{self.port}/{database}"

    def start(self) -> None:
        options = f"-p {self.port} -k {self._folder} -c listen_addresses={self._host} -c fsync=off"
        options += f" -c max_connections={self._connections}"
        self._run("pg_ctl", "-D", self._data, "-w", "-l", str(self._folder / "log"), "-o", options, "start")

    def stop(self, mode: str = "immediate") -> None:
        """`immediate` simulates a crash; `fast` closes the connections properly."""
        self._run("pg_ctl", "-D", self._data, "-w", "-m", mode, "stop")

    def new_database(self) -> str:
        """The URL of an empty database."""
        name = f"t{uuid4().hex[:12]}"
        with psycopg.connect(self.url(), autocommit=True) as connection:
            connection.execute(f'CREATE DATABASE "{name}"')  # type: ignore[arg-type]
        return self.url(name)

    def _run(self, tool: str, *arguments: str) -> None:
        command = [*self._as, str(self._tools / tool), *arguments]
        done = subprocess.run(
            command,
            cwd=self._folder,
            check=False,
            timeout=60,
            text=True,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
        )
        assert done.returncode == 0, done.stdout


@contextmanager
def postgres_server() -> Iterator[PostgresServer]:
    """A running server. Without PostgreSQL the test is skipped, and fails in CI."""
    tools = binaries()
    if tools is None:
        missing("PostgreSQL (initdb, pg_ctl)")
        raise AssertionError
    # A short path below /tmp: its owner needs access, and a socket path is limited to 107 bytes.
    folder = Path(tempfile.mkdtemp(prefix="pg"))
    try:
        server = PostgresServer(folder, tools)
        server.start()
        try:
            yield server
        finally:
            server.stop()
    finally:
        shutil.rmtree(folder, ignore_errors=True)
