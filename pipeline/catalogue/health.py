"""Checks of a database for `esteira doctor`."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

from sqlalchemy import Executable, text

from pipeline.catalogue.database import Database
from pipeline.catalogue.engines import database_url
from pipeline.catalogue.schema import check

SERVER_CLOCK = text("SELECT extract(epoch FROM clock_timestamp())")
JOURNAL = text("PRAGMA journal_mode")
QUICK_CHECK = text("PRAGMA quick_check(1)")


class DatabaseHealth:
    """Checks of one database. They create nothing: a missing file stays missing.

    Every method raises RetryableError (`catalogue`) or CatalogueError, as those of `Catalogue` do.
    """

    def __init__(self, url: str) -> None:
        self._url = database_url(url)
        self.file = Path(str(self._url.database)) if self._url.get_backend_name() == "sqlite" else None
        self.where = f"{self._url.host}/{self._url.database}" if self._url.host else str(self._url.database)
        self._open: Database | None = None

    @property
    def missing(self) -> bool:
        """Whether it is a file that does not exist. False if its directory cannot be read."""
        try:
            return self.file is not None and not self.file.is_file()
        except PermissionError:
            return False

    def check_schema(self) -> None:
        """Raises CatalogueError if the tables are not those of this version."""
        check(self._database())

    def behind_pooler(self) -> bool:
        """Whether a pooler such as PgBouncer is between this process and the server."""
        return self._database().read(lambda session: session.pooled)

    def skew_s(self) -> float | None:
        """The server's clock minus this machine's, in seconds; None for a file."""
        if self.file:
            return None
        before = time.time()
        server = float(self._value(SERVER_CLOCK))
        return server - (before + time.time()) / 2

    def journal_mode(self) -> str:
        """SQLite's journal mode: `wal` where the filesystem supports it."""
        return str(self._value(JOURNAL))

    def integrity_error(self) -> str | None:
        """The first integrity error of a SQLite file, or None. Reads the whole file."""
        answer = str(self._value(QUICK_CHECK))
        return None if answer == "ok" else answer

    def close(self) -> None:
        if self._open:
            self._open.close()

    def _database(self) -> Database:
        if self._open is None:
            self._open = Database(str(self._url.render_as_string(hide_password=False)), durable=False)
        return self._open

    def _value(self, statement: Executable) -> Any:
        row = self._database().read(lambda session: session.row(statement))
        assert row
        return row[0]
