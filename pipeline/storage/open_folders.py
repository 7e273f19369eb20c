"""The folders that content goes into, held open meanwhile: found once, and made known to the disk once."""

from __future__ import annotations

import errno
import os
from pathlib import Path
from typing import Self

from pipeline.errors import Code, PermanentError
from pipeline.storage.keys import FilePath

_FOLDER = os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC
_MAYBE_A_LINK = {errno.ELOOP, errno.ENOTDIR}


class OpenFolders:
    """The folders below `root` that the content of several keys goes into. Who has one cannot be led elsewhere."""

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
        """The descriptor of a key's folder, which is made where it is missing.

        Raises:
            PermanentError: `storage`, if a link leads out of the root.
            OSError: it cannot be made or opened.
        """
        if folder not in self._open:
            self._open[folder] = self._opened(folder)
        return self._open[folder]

    def sync(self, folder: str) -> None:
        """Returns when the names in a folder that was opened are on the disk; the disk is asked once.

        Raises:
            OSError: they are not, as far as anybody knows.
        """
        if folder not in self._synced:
            self._synced[folder] = _fault_of_sync(self._open[folder])
        if fault := self._synced[folder]:
            raise fault

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


def _fault_of_sync(descriptor: int) -> OSError | None:
    try:
        os.fsync(descriptor)
    except OSError as error:
        return error
    return None


def check_within(root: str, folder: str) -> None:
    """Lets a folder pass that lies below the root, whatever links lead there.

    Raises:
        PermanentError: `storage`, for any other.
    """
    real = os.path.realpath(root)
    if os.path.commonpath((os.path.realpath(folder), real)) != real:
        raise PermanentError(Code.STORAGE, "this key leads out of storage")


def make_folder(folder: Path) -> None:
    """Makes the folder and those above it, each known to the disk before anything goes into it."""
    if folder.is_dir():
        return
    make_folder(folder.parent)
    folder.mkdir(exist_ok=True)
    sync(folder.parent)


def sync(path: FilePath) -> None:
    """Returns when the file, or the names in the folder, are on the disk."""
    descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
