"""Storage on a local disk or a mounted one. Content gets its name only when all of it is on the disk."""

from __future__ import annotations

import errno
import os
import shutil
import stat
import sys
import time
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from uuid import uuid4

from pipeline.errors import Code, PermanentError, PipelineError, RetryableError, StagingLostError, or_raise
from pipeline.storage.keys import CHUNK_BYTES, FilePath, Method, checked_key, is_key
from pipeline.storage.open_folders import OpenFolders, check_within, make_folder, sync

# A folder for what is being written: what a killed process left is found without a search through all content.
PARTS = ".parts"
CANNOT_LINK = {errno.EXDEV, errno.EPERM, errno.EMLINK, errno.EOPNOTSUPP, errno.ENOSYS, errno.EACCES}


@dataclass(frozen=True)
class LocalStorage:
    """Content under `root`, an absolute path. Writers of one key may meet: there is one object, never half of it."""

    root: Path

    def put_file(self, path: FilePath, key: str) -> bool:
        """Stores the whole file under the key and leaves it where it is; False if that stands already.

        Raises:
            RetryableError: `storage`, if the disk is full or cannot be written.
            StagingLostError: there is no such file.
        """
        return or_raise(self.put_files([(path, key)])[0])

    def put_files(self, files: Sequence[tuple[FilePath, str]]) -> list[bool | PipelineError]:
        """Stores files under their keys as `put_file` does one: what comes of each, or its error, in their order."""
        with OpenFolders(os.fspath(self.root)) as folders:
            results = [self._put(path, key, folders) for path, key in files]
            # Also where it stood already: whoever wrote it may not have come to this yet.
            return [_lasting(result, key, folders) for (_, key), result in zip(files, results, strict=True)]

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
            sync(target.parent)
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
        return f"{self._uri}/{checked_key(key)}"  # no part of a key has to be quoted

    @cached_property
    def _uri(self) -> str:
        return self.root.as_uri().removesuffix("/")

    def signed_url(self, key: str, *, method: Method, seconds: int) -> str | None:  # noqa: ARG002  part of the interface
        """None: nobody but this machine serves a folder."""
        checked_key(key)
        return None

    def delete(self, key: str) -> None:
        """Removes what stands under the key, if anything does."""
        with _trouble("written"), suppress(FileNotFoundError):
            self._place(key).unlink()

    def list_older(self, folder: str, seconds: float) -> Iterator[str]:
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

    def delete_if_older(self, key: str, seconds: float) -> bool:
        """Removes what stands under the key if it was written longer ago than that; whether it did."""
        with _trouble("written"), suppress(FileNotFoundError):
            place = self._place(key)
            if _is_older(place.lstat(), seconds):
                place.unlink()
                return True
        return False

    def discard_stale_parts(self, seconds: float) -> int:
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
        check_within(os.fspath(self.root), os.fspath(target.parent))
        return target

    def _put(self, path: FilePath, key: str, folders: OpenFolders) -> bool | PipelineError:
        try:
            size = staged_size(path)
            folder, name = folders.of(_folder(checked_key(key))), key.rpartition("/")[2]
            found = _size(name, folder)
            if found != size and not (found is None and _linked(path, name, folder)):
                with self._part(self.root / key) as part:
                    _link_or_copy(path, part)
                    sync(part)
            return found != size
        except OSError as error:
            return _disk_error(error, "written")
        except PipelineError as error:
            return error

    @contextmanager
    def _part(self, target: Path) -> Iterator[Path]:
        """A hidden file that becomes `target` at the end of the block, or goes if that raises."""
        make_folder(self.root / PARTS)
        make_folder(target.parent)
        part = self.root / PARTS / uuid4().hex
        try:
            yield part
            part.replace(target)
        finally:
            # Renaming one hard link over another of the same file leaves both, so this is not only for failures.
            part.unlink(missing_ok=True)


def _folder(key: str) -> str:
    return key.rpartition("/")[0]


def _lasting(result: bool | PipelineError, key: str, folders: OpenFolders) -> bool | PipelineError:
    try:
        if not isinstance(result, PipelineError):
            folders.sync(_folder(key))
    except OSError as error:
        return _disk_error(error, "written")
    return result


def _linked(path: FilePath, name: str, folder: int) -> bool:
    """Gives the file its name at once, where links work and the name is free: whoever is killed leaves nothing."""
    sync(path)
    try:
        os.link(path, name, dst_dir_fd=folder)
    except OSError as error:
        if error.errno not in {*CANNOT_LINK, errno.EEXIST}:
            raise
        return False
    return True


def staged_size(path: FilePath) -> int:
    """The size of a staged file.

    Raises:
        StagingLostError: there is none.
    """
    try:
        return os.stat(path).st_size
    except FileNotFoundError:
        raise StagingLostError(os.path.basename(path)) from None


@contextmanager
def _trouble(doing: str) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise _disk_error(error, doing) from error


def _disk_error(error: OSError, doing: str) -> RetryableError:
    return RetryableError(Code.STORAGE, f"storage cannot be {doing}: {error.strerror}")


def _size(path: FilePath, folder: int | None = None) -> int | None:
    try:
        found = os.lstat(path, dir_fd=folder)
    except (FileNotFoundError, NotADirectoryError):
        return None
    return found.st_size if stat.S_ISREG(found.st_mode) else None


def _is_older(found: os.stat_result, seconds: float) -> bool:
    return time.time() - found.st_mtime > seconds


def _link_or_copy(source: FilePath, target: Path) -> None:
    try:
        os.link(source, target)
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
