"""How connections to SQLite and to PostgreSQL are opened."""

from __future__ import annotations

import math
from pathlib import Path

from sqlalchemy import create_engine, event
from sqlalchemy.engine import URL, Engine, make_url
from sqlalchemy.exc import ArgumentError
from sqlalchemy.pool import NullPool, PoolProxiedConnection

from pipeline.catalogue.sqlite_file import SqliteFile
from pipeline.errors import SettingsError
from pipeline.security.private_dirs import make_private_dir

WAIT_S = 5.0  # how long a transaction waits for a lock or for a free connection
CONNECTIONS = 8  # kept open in each process
# A host that loses its power or its network closes no connection. By default the server notices that after two hours,
# in which the rows of an open transaction stay locked and the connections count.
SETTINGS = (
    "SET lock_timeout = {lock_ms}; SET idle_in_transaction_session_timeout = {idle_ms}; "
    "SET tcp_keepalives_idle = 30; SET tcp_keepalives_interval = 10; SET tcp_keepalives_count = 3"
)


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


def open_sqlite(url: URL, file: SqliteFile) -> Engine:
    """For what needs SQLAlchemy's own connections, as migrations do: each opened anew and closed after its use.

    Raises:
        SettingsError: the folder of the file cannot be made.
    """
    _make_folder(Path(str(url.database)).parent)
    return create_engine(
        url,
        poolclass=NullPool,
        creator=file.connect,
        isolation_level="AUTOCOMMIT",
        paramstyle="named",
        hide_parameters=True,
    )


def _make_folder(folder: Path) -> None:
    try:
        make_private_dir(folder)
    except OSError as error:
        fault = f"cannot make the folder {folder}: {error.strerror}"
        raise SettingsError(
            f"DATABASE_URL: {fault}: name another place there, or by VAR_DIR if it is not set"
        ) from None


def open_postgresql(url: URL, *, wait_s: float) -> Engine:
    """A pool of connections on which every transaction is begun by hand; none is opened yet.

    A connection is waited for at most `wait_s`, and so is a lock by what runs outside of a transaction. The server ends
    a transaction whose host has died silently, and lets go of its locks, after twice that time.
    """
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
    settings = SETTINGS.format(lock_ms=int(1000 * wait_s), idle_ms=int(1000 * 2 * wait_s))
    event.listen(engine, "connect", lambda connection, _: connection.execute(settings))
    return engine


class PostgresqlPool:
    """Connections of an engine's pool, as `SqliteFile` gives its own."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self._pool = engine.pool  # held by whoever holds this, also once the engine has got another

    def take(self) -> PoolProxiedConnection:
        return self._engine.raw_connection()

    def give_back(self, pooled: PoolProxiedConnection) -> None:
        pooled.close()

    def discard(self, pooled: PoolProxiedConnection) -> None:
        pooled.invalidate()
        self.close()

    def close(self) -> None:
        self._engine.dispose()
