"""The pool keeps connections to a SQLite file while they are usable."""

from __future__ import annotations

import sqlite3
from pathlib import Path

import pytest
from sqlalchemy.engine import make_url

from pipeline.catalogue.sqlite_pool import SqliteConnection, SqlitePool


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "catalogue.db"


@pytest.fixture
def pool(path: Path) -> SqlitePool:
    return SqlitePool(make_url(f"sqlite:///{path}"), durable=False, wait_s=2, kept=2)


def is_open(connection: SqliteConnection) -> bool:
    try:
        connection.driver.execute("SELECT 1")
    except sqlite3.ProgrammingError:
        return False
    return True


def test_last_used_connection_is_acquired_first(pool: SqlitePool) -> None:
    first, second = pool.acquire(), pool.acquire()
    assert first is not second
    pool.release(second)
    pool.release(first)
    assert [pool.acquire(), pool.acquire()] == [first, second]


def test_pool_keeps_a_limited_number_of_connections(pool: SqlitePool) -> None:
    taken = [pool.acquire() for _ in range(5)]
    for connection in taken:
        pool.release(connection)
    assert [is_open(connection) for connection in taken] == [True, True, False, False, False]
    pool.close()
    assert not any(is_open(connection) for connection in taken)


def test_release_rolls_back_uncommitted_changes(pool: SqlitePool) -> None:
    connection = pool.acquire()
    connection.driver.execute("CREATE TABLE things (n)")
    connection.driver.execute("BEGIN IMMEDIATE")
    connection.driver.execute("INSERT INTO things VALUES (1)")
    pool.release(connection)
    again = pool.acquire()
    assert again is connection
    assert again.driver.execute("SELECT count(*) FROM things").fetchone() == (0,)


def test_close_closes_connections_in_use_when_released(pool: SqlitePool) -> None:
    connection = pool.acquire()
    pool.close()
    assert is_open(connection)
    pool.release(connection)
    assert not is_open(connection)
    assert pool.acquire() is not connection


def test_discard_closes_all_connections(pool: SqlitePool) -> None:
    met, other = pool.acquire(), pool.acquire()
    pool.release(other)
    pool.discard(met)
    assert not is_open(met)
    assert not is_open(other)
    assert is_open(pool.acquire())


@pytest.mark.parametrize("is_away", [False, True], ids=["at once", "after it was away"])
def test_replaced_file_is_reopened(pool: SqlitePool, path: Path, is_away: bool) -> None:
    connection = pool.acquire()
    pool.release(connection)
    path.rename(path.with_suffix(".old"))
    if is_away:
        with pytest.raises(sqlite3.OperationalError, match="the file is missing"):
            pool.acquire()
        assert not path.exists()
    path.touch()
    fresh = pool.acquire()
    assert fresh is not connection
    assert path.exists()
    pool.release(fresh)
    assert pool.acquire() is fresh
