"""How connections to SQLite and to PostgreSQL are opened."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

from sqlalchemy import create_engine, event
from sqlalchemy.engine import URL, Engine, make_url
from sqlalchemy.exc import ArgumentError, DisconnectionError

from pipeline.errors import SettingsError
from pipeline.folders import make_private

WAIT_S = 5.0  # how long a transaction waits for a lock or for a free connection
CONNECTIONS = 8  # kept open in each process
WAL_KEPT_BYTES = 64 * 1024 * 1024


def database_url(url: str) -> URL:
    """DATABASE_URL with the driver that is used here.

    Raises:
        SettingsError: it is no URL of a database that the catalogue can stand in. Its value is not repeated.
    """
    try:
        parsed = make_url(url)
    except (ArgumentError, ValueError):
        raise SettingsError("DATABASE_URL: is no URL: use sqlite:////path/to/file or postgresql://…") from None
    scheme = parsed.drivername.partition("+")[0]
    if scheme in {"postgres", "postgresql"}:  # Heroku writes postgres://
        return parsed.set(drivername="postgresql+psycopg")
    if scheme != "sqlite":
        raise SettingsError(f"DATABASE_URL: {scheme} is not supported: use sqlite:////path/to/file or postgresql://…")
    if parsed.database in {None, "", ":memory:"}:
        raise SettingsError("DATABASE_URL: needs a file, for several processes share it: sqlite:////path/to/file")
    return parsed


def open_engine(url: URL, *, durable: bool, wait_s: float) -> Engine:
    """A pool of connections on which every transaction is begun by hand; none is opened yet.

    A connection is waited for at most `wait_s`, and so is a lock by what runs outside of a transaction.

    Raises:
        SettingsError: the folder of SQLite's file cannot be made.
    """
    if url.get_backend_name() == "postgresql":
        return _postgresql(url, wait_s=wait_s)
    engine = create_engine(
        url,
        isolation_level="AUTOCOMMIT",
        paramstyle="named",
        pool_size=CONNECTIONS,
        max_overflow=-1,
        pool_use_lifo=True,
        hide_parameters=True,
        connect_args={"timeout": wait_s, "check_same_thread": False},
    )
    path = Path(str(url.database))
    _make_folder(path.parent)

    def opened(connection: Any, record: Any) -> None:
        _prepare_sqlite(connection, durable=durable)
        record.info["file"] = _identity(path)

    def used(_connection: Any, record: Any, _proxy: Any) -> None:
        # SQLite goes on writing to a file that was removed or replaced, where nobody will ever find it.
        if record.info["file"] != _identity(path):
            raise DisconnectionError("the catalogue's file was replaced")

    event.listen(engine, "connect", opened)
    event.listen(engine, "checkout", used)
    return engine


def _make_folder(folder: Path) -> None:
    try:
        make_private(folder)
    except OSError as error:
        fault = f"cannot make the folder {folder}: {error.strerror}"
        raise SettingsError(
            f"DATABASE_URL: {fault}: name another place there, or by VAR_DIR if it is not set"
        ) from None


def _identity(path: Path) -> tuple[int, int] | None:
    try:
        found = path.stat()
    except OSError:
        return None
    return found.st_dev, found.st_ino


def _postgresql(url: URL, *, wait_s: float) -> Engine:
    connecting = {
        "connect_timeout": max(2, math.ceil(wait_s)),  # whole seconds, and libpq takes no fewer
        "tcp_user_timeout": int(1000 * 2 * wait_s),
        "application_name": "esteira",
    }
    engine = create_engine(
        url,
        isolation_level="AUTOCOMMIT",
        pool_size=CONNECTIONS,
        max_overflow=CONNECTIONS,
        pool_timeout=wait_s,
        pool_use_lifo=True,
        hide_parameters=True,
        connect_args=connecting,
    )
    setting = f"SET lock_timeout = {int(1000 * wait_s)}"
    event.listen(engine, "connect", lambda connection, _: connection.execute(setting))
    return engine


def _prepare_sqlite(connection: Any, *, durable: bool) -> None:
    # Only the first connection to a new file has to switch: switching takes the file alone, and may find it busy.
    if connection.execute("PRAGMA journal_mode").fetchone() != ("wal",):
        connection.execute("PRAGMA journal_mode = WAL")
    connection.execute(f"PRAGMA synchronous = {'FULL' if durable else 'NORMAL'}")
    connection.execute(f"PRAGMA journal_size_limit = {WAL_KEPT_BYTES}")
