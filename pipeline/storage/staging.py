"""The staging directory: complete plaintext files under the ids of their attachments, and parts that are being written.

A file gets the id as its name only after it is complete and verified, so a file with that name is always usable.
"""

from __future__ import annotations

import errno
import itertools
import os
import secrets
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Self
from uuid import uuid4

from pipeline.errors import Code, RetryableError, StagingLostError
from pipeline.security.private_dirs import make_private_dir, private_opener

COPY = ".copy"
PIECE = 256 * 1024  # bytes read again at a time

_NEW = os.O_RDWR | os.O_CREAT | os.O_EXCL
_RUN = secrets.token_hex(4)  # machines may share the directory, and process ids are reused
_numbers = itertools.count()


class PartFile:
    """A file that is being written. A disk error within its block is raised as RetryableError (`staging`)."""

    def __init__(self, folder: Path, media_id: str) -> None:
        self._folder = folder
        self._name = f"{folder}/{media_id}"
        # Two workers may write the same attachment for a moment: one that was suspended and one that took over.
        self._path = f"{self._name}.{_RUN}-{os.getpid():x}-{next(_numbers):x}.part"
        self._descriptor = -1

    def __enter__(self) -> Self:
        try:
            self._descriptor = self._open()
        except OSError as error:
            raise _disk_error(error) from error
        return self

    def write(self, data: bytes | bytearray | memoryview) -> None:
        """Writes all of the data."""
        written = os.write(self._descriptor, data)
        while written < len(data):  # a nearly full disk writes a part, and fails at the next one
            written += os.write(self._descriptor, memoryview(data)[written:])

    def again(self) -> Iterator[bytes]:
        """The bytes that were written so far, and writing begins at the start again.

        What is written must not be ahead of what was read, and in the end not be shorter: the file is changed in place.
        """
        os.lseek(self._descriptor, 0, os.SEEK_SET)
        return self._pieces(os.fstat(self._descriptor).st_size)

    def _pieces(self, end: int) -> Iterator[bytes]:
        position = 0
        while position < end:
            piece = os.pread(self._descriptor, min(PIECE, end - position), position)
            if not piece:
                raise OSError(errno.EIO, "the file has become shorter")
            position += len(piece)
            yield piece

    def __exit__(self, _: object, error: BaseException | None, __: object) -> None:
        try:
            os.close(self._descriptor)
            if error is None:
                os.rename(self._path, self._name)
                return
        except OSError as disk_error:
            error = error or disk_error
        with suppress(OSError):
            os.unlink(self._path)
        if isinstance(error, OSError):
            raise _disk_error(error) from error

    def _open(self) -> int:
        try:
            return private_opener(self._path, _NEW)
        except FileNotFoundError:
            make_private_dir(self._folder)
            return private_opener(self._path, _NEW)


def _disk_error(error: OSError) -> RetryableError:
    return RetryableError(Code.STAGING, f"cannot write to the staging directory: {error.strerror}")


class WritableCopy:
    """A copy that is written piece by piece. Its owner discards it; that of a killed process is removed later.

    Raises:
        RetryableError: `staging`, from all methods but `discard`, if the disk is full or cannot be written.
    """

    def __init__(self, folder: Path, name: str) -> None:
        self._path = folder / f"{name}.{uuid4().hex}{COPY}"
        try:
            make_private_dir(folder)
            self._file = open(self._path, "xb", opener=private_opener)  # noqa: SIM115  closed by its owner
        except OSError as error:
            raise _disk_error(error) from error

    def write(self, data: bytes | bytearray) -> None:
        """Writes all of the data."""
        try:
            self._file.write(data)
        except OSError as error:
            raise _disk_error(error) from error

    def finish(self) -> Path:
        """The path, after the last write."""
        try:
            self._file.close()
        except OSError as error:
            raise _disk_error(error) from error
        return self._path

    def discard(self) -> None:
        """Removes the file."""
        with suppress(OSError):
            self._file.close()
        with suppress(OSError):
            self._path.unlink(missing_ok=True)


@dataclass(frozen=True)
class Staging:
    """The directory on this machine for the files of attachments between two steps."""

    folder: Path

    def path(self, media_id: str) -> Path:
        """The staged file of this attachment.

        Raises:
            StagingLostError: it does not exist on this machine.
        """
        if not self.exists(media_id):
            raise StagingLostError(media_id)
        return self.folder / media_id

    def file_path(self, media_id: str) -> str:
        """The path of the staged file of this attachment, whether it exists or not."""
        return f"{self.folder}/{media_id}"

    def exists(self, media_id: str) -> bool:
        return os.path.isfile(self.file_path(media_id))

    def part(self, media_id: str) -> PartFile:
        """A new file for a `with` block. It gets its name at the end of the block, or is removed if that raises.

        Raises:
            RetryableError: `staging`, if the disk is full or cannot be written.
        """
        return PartFile(self.folder, media_id)

    def writable_copy(self, name: str) -> WritableCopy:
        """A new copy, to be written by the caller."""
        return WritableCopy(self.folder, name)

    @contextmanager
    def copy(self, name: str, chunks: Iterable[bytes]) -> Iterator[Path]:
        """A file with these bytes, which is removed at the end of the block.

        Raises:
            RetryableError: `staging`, if the disk is full or cannot be written.
        """
        path = self.folder / f"{name}.{uuid4().hex[:8]}{COPY}"
        try:
            self._write(path, chunks)
            yield path
        finally:
            with suppress(OSError):
                path.unlink(missing_ok=True)

    def _write(self, path: Path, chunks: Iterable[bytes]) -> None:
        try:
            make_private_dir(self.folder)
            with open(path, "xb", opener=private_opener) as out:
                out.writelines(chunks)
        except OSError as error:
            raise _disk_error(error) from error

    def discard_copies(self, older_than_s: float) -> int:
        """Removes copies that were not modified for this long, whose process was killed. Returns how many."""
        removed = 0
        for path in self.folder.glob(f"*{COPY}"):
            with suppress(OSError):
                if time.time() - path.stat().st_mtime > older_than_s:
                    path.unlink()
                    removed += 1
        return removed

    def discard(self, media_id: str) -> None:
        """Removes the staged file, if there is one."""
        with suppress(OSError):
            os.unlink(self.file_path(media_id))

    def idle_ids(self, *, at_least_s: float, at_most_s: float) -> set[str]:
        """The ids of attachments with a file, complete or not, that was last modified within this range of ages."""
        ids = set()
        with suppress(FileNotFoundError), os.scandir(self.folder) as entries:
            for entry in entries:
                with suppress(OSError):
                    if at_least_s <= time.time() - entry.stat().st_mtime <= at_most_s:
                        ids.add(entry.name.partition(".")[0])
        return ids

    def discard_parts(self, media_id: str) -> int:
        """Removes incomplete files of this attachment. Returns how many."""
        parts = list(self.folder.glob(f"{media_id}.*.part"))
        for part in parts:
            with suppress(OSError):
                part.unlink(missing_ok=True)
        return len(parts)

    def discard_older(self, seconds: float) -> int:
        """Removes files that were not modified for this long, such as those of a killed process. Returns how many."""
        removed = 0
        with suppress(FileNotFoundError), os.scandir(self.folder) as entries:
            for entry in entries:
                with suppress(OSError):
                    if entry.is_file() and time.time() - entry.stat().st_mtime > seconds:
                        Path(entry.path).unlink()
                        removed += 1
        return removed
