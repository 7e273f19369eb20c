"""Storage on a local disk or a mounted one. Content gets its name only when all of it is on the disk."""

from __future__ import annotations

import errno
import os
import shutil
import stat
import sys
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from uuid import uuid4

from pipeline.errors import Code, PermanentError, RetryableError, StagingLostError
from pipeline.storage.keys import CHUNK_BYTES, Method, checked_key, is_key

# A folder for what is being written: what a killed process left is found without a search through all content.
PARTS = ".parts"
CANNOT_LINK = {errno.EXDEV, errno.EPERM, errno.EMLINK, errno.EOPNOTSUPP, errno.ENOSYS, errno.EACCES}


@dataclass(frozen=True)
class LocalStorage:
    """Content under `root`, an absolute path. Writers of one key may meet: there is one object, never half of it."""

    root: Path

    def put_file(self, path: Path, key: str) -> bool:
        """Stores the whole file under the key and leaves it where it is; False if that stands already.

        Raises:
            RetryableError: `storage`, if the disk is full or cannot be written.
            StagingLostError: there is no such file.
        """
        size = staged_size(path)
        with _trouble("written"):
            target = self._place(key)
            found = _size(target)
            if found != size and not (found is None and self._linked(path, target)):
                with self._part(target) as part:
                    _link_or_copy(path, part)
                    _sync(part)
            # Also where it stood already: whoever wrote it may not have come to this yet.
            _sync(target.parent)
        return found != size

    def put_chunks(self, chunks: Iterable[bytes], key: str) -> int:
        """Stores these bytes under the key, in place of what stood there; returns how many.

        Raises:
            RetryableError: `storage`, if the disk is full or cannot be written.
        """
        size = 0
        with _trouble("written"):
            target = self._place(key)
            with self._part(target) as part, part.open("xb", buffering=0) as out:
                for chunk in chunks:
                    _write_all(out.fileno(), chunk)
                    size += len(chunk)
                os.fsync(out.fileno())
            _sync(target.parent)
        return size

    def chunks(self, key: str, *, start: int = 0, stop: int | None = None) -> Iterator[bytes]:
        """The content in pieces of at most 256 KiB, from byte `start` up to before byte `stop`, both within it.

        Raises:
            PermanentError: `no_source`, if nothing stands there.
            RetryableError: `storage`, if it cannot be read.
        """
        with _trouble("read"):
            try:
                source = os.fdopen(os.open(self._place(key), os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC), "rb", 0)
            except FileNotFoundError:
                raise PermanentError(Code.NO_SOURCE, "storage does not hold this content") from None
        with source:
            source.seek(start)
            left = stop - start if stop is not None else sys.maxsize
            while chunk := _read(source.fileno(), at_most=min(left, CHUNK_BYTES)):
                yield chunk
                left -= len(chunk)

    def size(self, key: str) -> int | None:
        """How many bytes stand under the key, or None."""
        with _trouble("read"):
            return _size(self._place(key))

    def local_path(self, key: str) -> Path | None:
        """The file of this key, whether or not anything stands there."""
        return self._place(key)

    def url(self, key: str) -> str:
        return (self.root / checked_key(key)).as_uri()

    def signed_url(self, key: str, *, method: Method, seconds: int) -> str | None:  # noqa: ARG002  part of the interface
        """None: nobody but this machine serves a folder."""
        checked_key(key)
        return None

    def delete(self, key: str) -> None:
        """Removes what stands under the key, if anything does."""
        with _trouble("written"), suppress(FileNotFoundError):
            self._place(key).unlink()

    def older(self, folder: str, seconds: float) -> Iterator[str]:
        """The keys right below `folder` whose content was written longer ago than that, in no order.

        Raises:
            RetryableError: `storage`, if it cannot be read.
        """
        with _trouble("read"), suppress(FileNotFoundError), os.scandir(self._place(f"{folder}/x").parent) as entries:
            for entry in entries:
                key = f"{folder}/{entry.name}"
                with suppress(FileNotFoundError):  # somebody has just removed it
                    found = entry.stat(follow_symlinks=False)
                    if is_key(key) and stat.S_ISREG(found.st_mode) and _is_older(found, seconds):
                        yield key

    def delete_older(self, key: str, seconds: float) -> bool:
        """Removes what stands under the key if it was written longer ago than that; whether it did."""
        with _trouble("written"), suppress(FileNotFoundError):
            place = self._place(key)
            if _is_older(place.lstat(), seconds):
                place.unlink()
                return True
        return False

    def discard_older(self, seconds: float) -> int:
        """Removes what a killed process left half-written so long ago; returns how many files."""
        removed = 0
        with suppress(FileNotFoundError), os.scandir(self.root / PARTS) as entries:
            for entry in entries:
                with suppress(OSError):
                    # Its inode's time, for a hard link shows the time at which its content was written elsewhere.
                    if time.time() - entry.stat(follow_symlinks=False).st_ctime > seconds:
                        Path(entry.path).unlink()
                        removed += 1
        return removed

    def _place(self, key: str) -> Path:
        """The file of a key. A link that leads out of the root is as bad as a key that does."""
        target = self.root / checked_key(key)
        folder = target.parent
        if not Path(os.path.realpath(folder)).is_relative_to(os.path.realpath(self.root)):
            raise PermanentError(Code.STORAGE, "this key leads out of storage")
        return target

    def _linked(self, path: Path, target: Path) -> bool:
        """Gives the file its name at once, where links work and the name is free: whoever is killed leaves nothing."""
        _make_folder(target.parent)
        _sync(path)
        try:
            target.hardlink_to(path)
        except OSError as error:
            if error.errno not in {*CANNOT_LINK, errno.EEXIST}:
                raise
            return False
        return True

    @contextmanager
    def _part(self, target: Path) -> Iterator[Path]:
        """A hidden file that becomes `target` at the end of the block, or goes if that raises."""
        _make_folder(self.root / PARTS)
        _make_folder(target.parent)
        part = self.root / PARTS / uuid4().hex
        try:
            yield part
            part.replace(target)
        finally:
            # Renaming one hard link over another of the same file leaves both, so this is not only for failures.
            part.unlink(missing_ok=True)


def staged_size(path: Path) -> int:
    """The size of a staged file.

    Raises:
        StagingLostError: there is none.
    """
    try:
        return path.stat().st_size
    except FileNotFoundError:
        raise StagingLostError(path.name) from None


@contextmanager
def _trouble(doing: str) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise RetryableError(Code.STORAGE, f"storage cannot be {doing}: {error.strerror}") from error


def _size(path: Path) -> int | None:
    try:
        found = path.lstat()
    except (FileNotFoundError, NotADirectoryError):
        return None
    return found.st_size if stat.S_ISREG(found.st_mode) else None


def _is_older(found: os.stat_result, seconds: float) -> bool:
    return time.time() - found.st_mtime > seconds


def _link_or_copy(source: Path, target: Path) -> None:
    try:
        target.hardlink_to(source)
    except OSError as error:
        if error.errno not in CANNOT_LINK:
            raise
        shutil.copyfile(source, target)


def _read(descriptor: int, *, at_most: int) -> bytes:
    with _trouble("read"):
        return os.read(descriptor, at_most)


def _write_all(descriptor: int, chunk: bytes) -> None:
    rest = memoryview(chunk)
    while rest:
        rest = rest[os.write(descriptor, rest) :]


def _sync(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _make_folder(folder: Path) -> None:
    """Makes the folder and those above it, each known to the disk before anything goes into it."""
    if folder.is_dir():
        return
    _make_folder(folder.parent)
    folder.mkdir(exist_ok=True)
    _sync(folder.parent)
