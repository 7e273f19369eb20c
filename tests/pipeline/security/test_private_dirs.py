"""Directories with mode 0700, and those that a group shares."""

from __future__ import annotations

import contextlib
import os
import sqlite3
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from pipeline.catalogue import Catalogue
from pipeline.security.private_dirs import make_private_dir, make_private_file, private_opener
from pipeline.storage.local import LocalStorage
from pipeline.storage.staging import Staging


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


def shared_dir(folder: Path) -> Path:
    """A directory that a group shares, and a umask that forbids the group everything."""
    folder.mkdir()
    folder.chmod(0o2770)
    os.umask(0o077)
    return folder


def test_directories_in_a_shared_one_are_shared_too(tmp_path: Path) -> None:
    shared = shared_dir(tmp_path / "shared")
    make_private_dir(shared / "media" / "ab")
    assert [(shared / name).stat().st_mode & 0o7777 for name in ("media", "media/ab")] == [0o2770] * 2


def test_files_in_a_shared_directory_are_for_its_group(tmp_path: Path) -> None:
    shared = shared_dir(tmp_path / "shared")
    make_private_file(shared / "esteira.db")
    with open(shared / "part", "xb", opener=private_opener):
        pass
    assert (mode(shared / "esteira.db"), mode(shared / "part")) == (0o660, 0o660)


@pytest.mark.parametrize("bits", [0o2750, 0o770, 0o2700, 0o777])
def test_files_are_private_unless_the_group_may_write_and_inherits(tmp_path: Path, bits: int) -> None:
    folder = tmp_path / "folder"
    folder.mkdir()
    folder.chmod(bits)
    make_private_file(folder / "file")
    make_private_dir(folder / "below")
    assert (mode(folder / "file"), mode(folder / "below")) == (0o600, 0o700)


def test_database_in_a_shared_directory_is_for_its_group_with_its_log(tmp_path: Path) -> None:
    shared = shared_dir(tmp_path / "shared")
    catalogue = Catalogue(f"sqlite:///{shared}/esteira.db")
    catalogue.migrate()
    with contextlib.closing(sqlite3.connect(shared / "esteira.db")) as reader:
        reader.execute("CREATE TABLE more (id)")
        modes = {path.name: mode(path) for path in shared.iterdir()}
    catalogue.close()
    assert modes == {"esteira.db": 0o660, "esteira.db-wal": 0o660, "esteira.db-shm": 0o660}


@pytest.fixture
def open_folder() -> Iterator[Path]:
    """A directory that every user can enter, unlike pytest's own."""
    with tempfile.TemporaryDirectory() as folder:
        Path(folder).chmod(0o755)
        yield Path(folder)


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can become two users")
def test_two_users_of_a_group_store_and_remove_each_others_files(open_folder: Path) -> None:
    shared = shared_dir(open_folder / "shared")
    os.chown(shared, 0, 4321)
    shared.chmod(0o2770)
    as_user(4001, lambda: store(shared, "ab/first"))
    as_user(4002, lambda: store(shared, "ab/second"))
    as_user(4002, lambda: LocalStorage(shared / "media").delete("ab/first"))
    as_user(4001, lambda: LocalStorage(shared / "media").delete("ab/second"))
    assert not list((shared / "media" / "ab").iterdir())
    assert {path.stat().st_gid for path in shared.rglob("*")} == {4321}


def store(shared: Path, key: str) -> None:
    with Staging(shared / "staging").part("id") as part:
        part.write(b"content")
    LocalStorage(shared / "media").put_file(shared / "staging" / "id", key)
    assert b"".join(LocalStorage(shared / "media").chunks(key)) == b"content"


def as_user(uid: int, work: Callable[[], None]) -> None:
    """Runs the work in a child process of this user and the group 4321."""
    child = os.fork()
    if child == 0:
        status = 1
        try:
            os.setgroups([])
            os.setgid(4321)
            os.setuid(uid)
            work()
            status = 0
        finally:
            os._exit(status)
    assert os.waitpid(child, 0)[1] == 0
