"""Directories that stay open while several files are stored: each is opened once and synced once."""

from __future__ import annotations

import errno
import os
from pathlib import Path
from typing import Self

from pipeline.errors import Code, PermanentError
from pipeline.security.private_dirs import create_dir
from pipeline.storage.keys import FilePath

_FOLDER = os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC
_MAYBE_A_LINK = {errno.ELOOP, errno.ENOTDIR}


class OpenFolders:
    """Open directories below `root`. A symbolic link that is made later cannot redirect an open directory."""

    def __init__(self, root: str) -> None:
        self._root = root
        self._open: dict[str, int] = {}
        self._synced: dict[str, OSError | None] = {}

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        for descriptor in self._open.values():
            os.close(descriptor)

    def of(self, folder: str) -> int:
        """The descriptor of a key's directory, which is created if it is missing.

        Raises:
            PermanentError: `storage`, if a link leads out of the root.
            OSError: it cannot be created or opened.
        """
        if folder not in self._open:
            self._open[folder] = self._opened(folder)
        return self._open[folder]

    def sync(self, folder: str) -> None:
        """Returns when the names in an open directory are on the disk. Syncs each directory once.

        Raises:
            OSError: the sync failed.
        """
        if folder not in self._synced:
            self._synced[folder] = _sync_error(self._open[folder])
        if error := self._synced[folder]:
            raise error

    def _opened(self, folder: str) -> int:
        path = f"{self._root}/{folder}"
        if folder and "/" not in folder:
            try:
                return os.open(path, _FOLDER | os.O_NOFOLLOW)
            except FileNotFoundError:
                make_folder(Path(path))
                return os.open(path, _FOLDER | os.O_NOFOLLOW)
            except OSError as error:
                if error.errno not in _MAYBE_A_LINK:
                    raise
        check_within(self._root, path)
        make_folder(Path(path))
        return os.open(path, _FOLDER)


def _sync_error(descriptor: int) -> OSError | None:
    try:
        os.fsync(descriptor)
    except OSError as error:
        return error
    return None


def check_within(root: str, folder: str) -> None:
    """Checks that a directory is below the root after all links are resolved.

    Raises:
        PermanentError: `storage`, if it is not.
    """
    real = os.path.realpath(root)
    if os.path.commonpath((os.path.realpath(folder), real)) != real:
        raise PermanentError(Code.STORAGE, "this key leads out of storage")


def make_folder(folder: Path) -> None:
    """Creates the directory and its parents, and syncs each before it is used."""
    if folder.is_dir():
        return
    make_folder(folder.parent)
    create_dir(folder)
    sync(folder.parent)


def sync(path: FilePath) -> None:
    """Returns when the file, or the names in the directory, are on the disk."""
    descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
