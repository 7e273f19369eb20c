"""Storage on a local or mounted disk. Content gets its final name only after all of it is on the disk."""

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
from pipeline.security.private_dirs import make_private_file, private_opener
from pipeline.storage.keys import CHUNK_BYTES, FilePath, Method, checked_key, is_key
from pipeline.storage.open_folders import OpenFolders, check_within, make_folder, sync

# The directory for files in progress, so that leftovers of a killed process are found without a search of all content.
PARTS = ".parts"
CANNOT_LINK = {errno.EXDEV, errno.EPERM, errno.EMLINK, errno.EOPNOTSUPP, errno.ENOSYS, errno.EACCES}


@dataclass(frozen=True)
class LocalStorage:
    """Content under `root`, an absolute path. Concurrent writers of one key leave one complete file."""

    root: Path

    def put_file(self, path: FilePath, key: str) -> bool:
        """Stores a copy or a hard link of the file under the key. False if the key has this content already.

        Raises:
            RetryableError: `storage`, if the disk is full or cannot be written.
            StagingLostError: the file does not exist.
        """
        return or_raise(self.put_files([(path, key)])[0])

    def put_files(self, files: Sequence[tuple[FilePath, str]]) -> list[bool | PipelineError]:
        """Stores several files. Returns the result of `put_file` or the error of each, in order."""
        with OpenFolders(os.fspath(self.root)) as folders:
            results = [self._put(path, key, folders) for path, key in files]
            # Also for existing content: its writer may not have synced the directory yet.
            return [_synced(result, key, folders) for (_, key), result in zip(files, results, strict=True)]

    def put_chunks(self, chunks: Iterable[bytes], key: str) -> int:
        """Stores these bytes under the key, replacing its content. Returns the number of bytes.

        Raises:
            RetryableError: `storage`, if the disk is full or cannot be written.
        """
        size = 0
        with _translated_errors("written"):
            target = self._path(key)
            with self._part(target) as part, open(part, "xb", buffering=0, opener=private_opener) as out:
                for chunk in chunks:
                    _write_all(out.fileno(), chunk)
                    size += len(chunk)
                os.fsync(out.fileno())
            sync(target.parent)
        return size

    def chunks(self, key: str, *, start: int = 0, stop: int | None = None) -> Iterator[bytes]:
        """Yields the content in chunks of at most 256 KiB, from byte `start` to before byte `stop`.

        Raises:
            PermanentError: `no_source`, if the key has no content.
            RetryableError: `storage`, if it cannot be read.
        """
        with _translated_errors("read"):
            try:
                source = os.fdopen(os.open(self._path(key), os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC), "rb", 0)
            except FileNotFoundError:
                raise PermanentError(Code.NO_SOURCE, "storage does not hold this content") from None
        with source:
            source.seek(start)
            remaining = stop - start if stop is not None else sys.maxsize
            while chunk := _read(source.fileno(), at_most=min(remaining, CHUNK_BYTES)):
                yield chunk
                remaining -= len(chunk)

    def size(self, key: str) -> int | None:
        """The size of the content in bytes, or None."""
        with _translated_errors("read"):
            return _size(self._path(key))

    def local_path(self, key: str) -> Path | None:
        """The file of this key, whether it exists or not."""
        return self._path(key)

    def url(self, key: str) -> str:
        return f"{self._uri}/{checked_key(key)}"  # keys need no quoting

    @cached_property
    def _uri(self) -> str:
        return self.root.as_uri().removesuffix("/")

    def signed_url(self, key: str, *, method: Method, seconds: int) -> str | None:  # noqa: ARG002  part of the interface
        """None: a local directory has no server."""
        checked_key(key)
        return None

    def delete(self, key: str) -> None:
        """Deletes the content of the key, if there is any."""
        with _translated_errors("written"), suppress(FileNotFoundError):
            self._path(key).unlink()

    def list_older(self, folder: str, seconds: float) -> Iterator[str]:
        """Yields the keys directly below `folder` whose content is older than `seconds`, unordered.

        Raises:
            RetryableError: `storage`, if it cannot be read.
        """
        with (
            _translated_errors("read"),
            suppress(FileNotFoundError),
            os.scandir(self._path(f"{folder}/x").parent) as entries,
        ):
            for entry in entries:
                key = f"{folder}/{entry.name}"
                with suppress(FileNotFoundError):  # removed by another process
                    status = entry.stat(follow_symlinks=False)
                    if is_key(key) and stat.S_ISREG(status.st_mode) and _is_older(status, seconds):
                        yield key

    def delete_if_older(self, key: str, seconds: float) -> bool:
        """Deletes the content of the key if it is older than `seconds`. Returns whether it did."""
        with _translated_errors("written"), suppress(FileNotFoundError):
            path = self._path(key)
            if _is_older(path.lstat(), seconds):
                path.unlink()
                return True
        return False

    def discard_stale_parts(self, seconds: float) -> int:
        """Removes incomplete files of killed processes that are older than `seconds`. Returns how many."""
        removed = 0
        with suppress(FileNotFoundError), os.scandir(self.root / PARTS) as entries:
            for entry in entries:
                with suppress(OSError):
                    # The change time of the inode: a hard link keeps the modification time of its source.
                    if time.time() - entry.stat(follow_symlinks=False).st_ctime > seconds:
                        Path(entry.path).unlink()
                        removed += 1
        return removed

    def _path(self, key: str) -> Path:
        """The file of a key. Refuses a link that leads out of the root, as it refuses such a key."""
        target = self.root / checked_key(key)
        check_within(os.fspath(self.root), os.fspath(target.parent))
        return target

    def _put(self, path: FilePath, key: str, folders: OpenFolders) -> bool | PipelineError:
        try:
            size = staged_size(path)
            folder, name = folders.of(_folder(checked_key(key))), key.rpartition("/")[2]
            present = _size(name, folder)
            if present != size and not (present is None and _link(path, name, folder)):
                with self._part(self.root / key) as part:
                    _link_or_copy(path, part)
                    sync(part)
            return present != size
        except OSError as error:
            return _disk_error(error, "written")
        except PipelineError as error:
            return error

    @contextmanager
    def _part(self, target: Path) -> Iterator[Path]:
        """A temporary file that is renamed to `target` at the end of the block, or removed if that raises."""
        make_folder(self.root / PARTS)
        make_folder(target.parent)
        part = self.root / PARTS / uuid4().hex
        try:
            yield part
            part.replace(target)
        finally:
            # Not only after an error: renaming one hard link over another of the same file keeps both.
            part.unlink(missing_ok=True)


def _folder(key: str) -> str:
    return key.rpartition("/")[0]


def _synced(result: bool | PipelineError, key: str, folders: OpenFolders) -> bool | PipelineError:
    try:
        if not isinstance(result, PipelineError):
            folders.sync(_folder(key))
    except OSError as error:
        return _disk_error(error, "written")
    return result


def _link(path: FilePath, name: str, folder: int) -> bool:
    """Links the file to its final name, if links work and the name is free. A killed process leaves nothing behind."""
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
        StagingLostError: it does not exist.
    """
    try:
        return os.stat(path).st_size
    except FileNotFoundError:
        raise StagingLostError(os.path.basename(path)) from None


@contextmanager
def _translated_errors(doing: str) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise _disk_error(error, doing) from error


def _disk_error(error: OSError, doing: str) -> RetryableError:
    return RetryableError(Code.STORAGE, f"storage cannot be {doing}: {error.strerror}")


def _size(path: FilePath, folder: int | None = None) -> int | None:
    try:
        status = os.lstat(path, dir_fd=folder)
    except (FileNotFoundError, NotADirectoryError):
        return None
    return status.st_size if stat.S_ISREG(status.st_mode) else None


def _is_older(status: os.stat_result, seconds: float) -> bool:
    return time.time() - status.st_mtime > seconds


def _link_or_copy(source: FilePath, target: Path) -> None:
    try:
        os.link(source, target)
    except OSError as error:
        if error.errno not in CANNOT_LINK:
            raise
        make_private_file(target)
        shutil.copyfile(source, target)


def _read(descriptor: int, *, at_most: int) -> bytes:
    with _translated_errors("read"):
        return os.read(descriptor, at_most)


def _write_all(descriptor: int, chunk: bytes) -> None:
    remaining = memoryview(chunk)
    while remaining:
        remaining = remaining[os.write(descriptor, remaining) :]
