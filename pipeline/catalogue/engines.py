"""Opens connections to SQLite and PostgreSQL."""

from __future__ import annotations

import math
from functools import partial
from pathlib import Path
from typing import Any

from sqlalchemy import create_engine, event
from sqlalchemy.engine import URL, Engine, make_url
from sqlalchemy.exc import ArgumentError
from sqlalchemy.pool import ConnectionPoolEntry, NullPool, PoolProxiedConnection

from pipeline.catalogue.sqlite_pool import SqlitePool
from pipeline.errors import SettingsError
from pipeline.extras import require_extra
from pipeline.security.folder_faults import write_fault
from pipeline.security.private_dirs import make_private_dir

WAIT_S = 5.0  # how long a transaction waits for a lock or for a free connection
CONNECTIONS = 8  # unused connections that each process keeps open
# A host that loses power or network closes no connection. By default the server notices that after two hours, in which
# the rows of an open transaction stay locked and its connections count.
SETTINGS = (
    "SET lock_timeout = {lock_ms}; SET idle_in_transaction_session_timeout = {idle_ms}; "
    "SET tcp_keepalives_idle = 30; SET tcp_keepalives_interval = 10; SET tcp_keepalives_count = 3"
)
BEGIN_WITH = "begin_with"  # in a connection's info: what each transaction adds to BEGIN


def database_url(url: str) -> URL:
    """Parses DATABASE_URL and sets the driver.

    Raises:
        SettingsError: it is not the URL of a supported database, or the extra `postgres` is missing. The message does
            not repeat the value.
    """
    try:
        parsed = make_url(url)
    except (ArgumentError, ValueError):
        raise SettingsError("DATABASE_URL: not a URL: use sqlite:////path/to/file or postgresql://…") from None
    scheme = parsed.drivername.partition("+")[0]
    if scheme in {"postgres", "postgresql"}:  # Heroku writes postgres://
        require_extra("postgres", "DATABASE_URL=postgresql://…")
        return parsed.set(drivername="postgresql+psycopg")
    if scheme != "sqlite":
        raise SettingsError(f"DATABASE_URL: {scheme} is not supported: use sqlite:////path/to/file or postgresql://…")
    if parsed.database in {None, "", ":memory:"}:
        raise SettingsError("DATABASE_URL: must name a file, because processes share it: sqlite:////path/to/file")
    return parsed


def open_sqlite(url: URL, pool: SqlitePool) -> Engine:
    """An engine for code that needs SQLAlchemy's own connections, as migrations do. It closes each one after its use.

    Raises:
        SettingsError: the directory of the file cannot be created.
    """
    _make_directory(Path(str(url.database)).parent)
    return create_engine(
        url,
        poolclass=NullPool,
        creator=pool.connect,
        isolation_level="AUTOCOMMIT",
        paramstyle="named",
        hide_parameters=True,
    )


def _make_directory(path: Path) -> None:
    try:
        make_private_dir(path)
    except OSError as error:
        fault = write_fault(path, error)
        raise SettingsError(f"DATABASE_URL: {fault}: change DATABASE_URL, or VAR_DIR if it is not set") from None


def open_postgresql(url: URL, *, wait_s: float) -> Engine:
    """An engine with a pool in which every transaction is begun explicitly. It opens no connection yet.

    A caller waits at most `wait_s` for a connection, and as long for a lock outside of a transaction. The server ends a
    transaction whose host has died silently, and releases its locks, after twice that time.
    """
    engine = create_engine(
        url,
        isolation_level="AUTOCOMMIT",
        pool_size=CONNECTIONS,
        max_overflow=CONNECTIONS,
        pool_timeout=wait_s,
        pool_use_lifo=True,
        hide_parameters=True,
        connect_args={
            "connect_timeout": max(2, math.ceil(wait_s)),  # whole seconds, and libpq accepts no fewer
            "tcp_user_timeout": int(1000 * 2 * wait_s),
            "application_name": "esteira",
        },
    )
    event.listen(engine, "connect", partial(_prepare_connection, wait_s))
    return engine


def _prepare_connection(wait_s: float, connection: Any, record: ConnectionPoolEntry) -> None:
    """Makes a new connection ready for use.

    A pooler answers the login with a process id of its own. In transaction mode, which looks like session mode
    here, another server may run the next transaction: it does not know statements that were prepared on this one, and a
    setting of the session would be left to another client. Transactions bring their settings with them then.
    """
    idle_ms = int(1000 * 2 * wait_s)
    [server_pid] = connection.execute("SELECT pg_backend_pid()", prepare=False).fetchone()
    if server_pid == connection.info.backend_pid:
        connection.execute(SETTINGS.format(lock_ms=int(1000 * wait_s), idle_ms=idle_ms))
    else:
        connection.prepare_threshold = None  # statements are never prepared
        record.info[BEGIN_WITH] = f"; SET LOCAL idle_in_transaction_session_timeout = {idle_ms}"


class PostgresqlPool:
    """The pool of an engine, with the methods of `SqlitePool`."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self._pool = engine.pool  # keeps the connections open in a forked child, whose engine has another pool

    def acquire(self) -> PoolProxiedConnection:
        return self._engine.raw_connection()

    def release(self, connection: PoolProxiedConnection) -> None:
        connection.close()

    def discard(self, connection: PoolProxiedConnection) -> None:
        connection.invalidate()
        self.close()

    def close(self) -> None:
        self._engine.dispose()
