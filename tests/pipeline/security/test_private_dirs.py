"""Directories with mode 0700."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from pipeline.security.private_dirs import make_private_dir


@pytest.fixture(autouse=True)
def open_handed() -> Iterator[None]:
    """A umask that takes nothing away."""
    before = os.umask(0)
    yield
    os.umask(before)


def mode(folder: Path) -> int:
    return folder.stat().st_mode & 0o777


def test_every_folder_that_it_makes_is_its_users_alone(tmp_path: Path) -> None:
    make_private_dir(tmp_path / "a" / "b" / "c")
    assert [mode(tmp_path / name) for name in ("a", "a/b", "a/b/c")] == [0o700] * 3


def test_one_that_is_there_stays_as_it_is(tmp_path: Path) -> None:
    shared = tmp_path / "shared"
    shared.mkdir(mode=0o775)
    make_private_dir(shared / "own")
    make_private_dir(shared)
    assert (mode(shared), mode(shared / "own")) == (0o775, 0o700)


def test_a_relative_one_is_made_where_we_are(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    make_private_dir(Path("var"))
    assert mode(tmp_path / "var") == 0o700


def test_a_file_in_its_place_is_told(tmp_path: Path) -> None:
    (tmp_path / "var").touch()
    for folder in (tmp_path / "var", tmp_path / "var" / "valkey"):
        with pytest.raises(OSError, match="var"):
            make_private_dir(folder)
