"""PostgreSQL as the catalogue of a run, in a folder of its own, which it owns."""

from __future__ import annotations

import shutil
import tempfile
from pathlib import Path

import psycopg

from tests.support.postgres import PostgresServer, binaries

READ_TIMEOUT_S = 10


class PostgresCatalogue:
    """A server with one database. It does not sync, because the faults kill no machine."""

    def __init__(self, tools: Path) -> None:
        self._folder = Path(tempfile.mkdtemp(prefix="pg"))  # its owner cannot enter the folder of the run
        self._server = PostgresServer(self._folder, tools)
        self.running = False
        self.start()
        self.url = self._server.new_database()

    def start(self) -> None:
        if not self.running:
            self._server.start()
            self.running = True

    def stop(self) -> None:
        """Stops the server as a crash does."""
        if self.running:
            self._server.stop("immediate")
            self.running = False

    def end(self) -> None:
        try:
            self.stop()
        finally:
            shutil.rmtree(self._folder, ignore_errors=True)


def open_postgres() -> PostgresCatalogue | None:
    """A running server; None if PostgreSQL is not installed."""
    tools = binaries()
    return PostgresCatalogue(tools) if tools else None


def select(url: str, query: str) -> list[tuple[object, ...]]:
    """The rows of a query."""
    with psycopg.connect(url, connect_timeout=READ_TIMEOUT_S) as connection:
        return connection.execute(query).fetchall()  # type: ignore[arg-type]
