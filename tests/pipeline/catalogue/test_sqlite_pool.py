"""Connections to a SQLite file are kept, and only as long as they are good for something."""

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


def is_open(opened: SqliteConnection) -> bool:
    try:
        opened.driver.execute("SELECT 1")
    except sqlite3.ProgrammingError:
        return False
    return True


def test_the_connection_that_was_used_last_is_taken_next(pool: SqlitePool) -> None:
    first, second = pool.acquire(), pool.acquire()
    assert first is not second
    pool.release(second)
    pool.release(first)
    assert [pool.acquire(), pool.acquire()] == [first, second]


def test_only_so_many_stay_open(pool: SqlitePool) -> None:
    taken = [pool.acquire() for _ in range(5)]
    for opened in taken:
        pool.release(opened)
    assert [is_open(opened) for opened in taken] == [True, True, False, False, False]
    pool.close()
    assert not any(is_open(opened) for opened in taken)


def test_what_was_not_committed_is_undone(pool: SqlitePool) -> None:
    opened = pool.acquire()
    opened.driver.execute("CREATE TABLE things (n)")
    opened.driver.execute("BEGIN IMMEDIATE")
    opened.driver.execute("INSERT INTO things VALUES (1)")
    pool.release(opened)
    again = pool.acquire()
    assert again is opened
    assert again.driver.execute("SELECT count(*) FROM things").fetchone() == (0,)


def test_one_that_is_in_use_while_all_are_closed_is_closed_when_it_comes_back(pool: SqlitePool) -> None:
    opened = pool.acquire()
    pool.close()
    assert is_open(opened)
    pool.release(opened)
    assert not is_open(opened)
    assert pool.acquire() is not opened


def test_what_one_has_met_ends_them_all(pool: SqlitePool) -> None:
    met, other = pool.acquire(), pool.acquire()
    pool.release(other)
    pool.discard(met)
    assert not is_open(met)
    assert not is_open(other)
    assert is_open(pool.acquire())


@pytest.mark.parametrize("again", [True, False], ids=["replaced", "removed"])
def test_a_file_that_is_another_one_is_opened_anew(pool: SqlitePool, path: Path, again: bool) -> None:
    opened = pool.acquire()
    pool.release(opened)
    path.rename(path.with_suffix(".old"))
    if again:
        path.touch()
    fresh = pool.acquire()
    assert fresh is not opened
    assert path.exists()
    pool.release(fresh)
    assert pool.acquire() is fresh
