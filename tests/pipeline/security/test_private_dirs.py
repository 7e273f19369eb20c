"""Directories with mode 0700."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from pipeline.security.private_dirs import make_private_dir


@pytest.fixture(autouse=True)
def permissive_umask() -> Iterator[None]:
    """Sets a umask that removes no permission bits."""
    previous = os.umask(0)
    yield
    os.umask(previous)


def mode(folder: Path) -> int:
    return folder.stat().st_mode & 0o777


def test_created_directories_have_mode_0700(tmp_path: Path) -> None:
    make_private_dir(tmp_path / "a" / "b" / "c")
    assert [mode(tmp_path / name) for name in ("a", "a/b", "a/b/c")] == [0o700] * 3


def test_existing_directory_keeps_its_mode(tmp_path: Path) -> None:
    shared = tmp_path / "shared"
    shared.mkdir(mode=0o775)
    make_private_dir(shared / "own")
    make_private_dir(shared)
    assert (mode(shared), mode(shared / "own")) == (0o775, 0o700)


def test_relative_directory_is_created_in_the_working_directory(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    make_private_dir(Path("var"))
    assert mode(tmp_path / "var") == 0o700


def test_file_at_the_path_raises_an_error_that_names_it(tmp_path: Path) -> None:
    (tmp_path / "var").touch()
    for folder in (tmp_path / "var", tmp_path / "var" / "valkey"):
        with pytest.raises(OSError, match="var"):
            make_private_dir(folder)
