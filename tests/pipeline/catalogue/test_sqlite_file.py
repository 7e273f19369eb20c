"""Connections to a SQLite file are kept, and only as long as they are good for something."""

from __future__ import annotations

import sqlite3
from pathlib import Path

import pytest
from sqlalchemy.engine import make_url

from pipeline.catalogue.sqlite_file import Opened, SqliteFile


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "catalogue.db"


@pytest.fixture
def file(path: Path) -> SqliteFile:
    return SqliteFile(make_url(f"sqlite:///{path}"), durable=False, wait_s=2, kept=2)


def is_open(opened: Opened) -> bool:
    try:
        opened.driver.execute("SELECT 1")
    except sqlite3.ProgrammingError:
        return False
    return True


def test_the_connection_that_was_used_last_is_taken_next(file: SqliteFile) -> None:
    first, second = file.take(), file.take()
    assert first is not second
    file.give_back(second)
    file.give_back(first)
    assert [file.take(), file.take()] == [first, second]


def test_only_so_many_stay_open(file: SqliteFile) -> None:
    taken = [file.take() for _ in range(5)]
    for opened in taken:
        file.give_back(opened)
    assert [is_open(opened) for opened in taken] == [True, True, False, False, False]
    file.close()
    assert not any(is_open(opened) for opened in taken)


def test_what_was_not_committed_is_undone(file: SqliteFile) -> None:
    opened = file.take()
    opened.driver.execute("CREATE TABLE things (n)")
    opened.driver.execute("BEGIN IMMEDIATE")
    opened.driver.execute("INSERT INTO things VALUES (1)")
    file.give_back(opened)
    again = file.take()
    assert again is opened
    assert again.driver.execute("SELECT count(*) FROM things").fetchone() == (0,)


def test_one_that_is_in_use_while_all_are_closed_is_closed_when_it_comes_back(file: SqliteFile) -> None:
    opened = file.take()
    file.close()
    assert is_open(opened)
    file.give_back(opened)
    assert not is_open(opened)
    assert file.take() is not opened


def test_what_one_has_met_ends_them_all(file: SqliteFile) -> None:
    met, other = file.take(), file.take()
    file.give_back(other)
    file.discard(met)
    assert not is_open(met)
    assert not is_open(other)
    assert is_open(file.take())


@pytest.mark.parametrize("again", [True, False], ids=["replaced", "removed"])
def test_a_file_that_is_another_one_is_opened_anew(file: SqliteFile, path: Path, again: bool) -> None:
    opened = file.take()
    file.give_back(opened)
    path.rename(path.with_suffix(".old"))
    if again:
        path.touch()
    fresh = file.take()
    assert fresh is not opened
    assert path.exists()
    file.give_back(fresh)
    assert file.take() is fresh
