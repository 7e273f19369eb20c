"""The spool: a folder with hand-overs that the server has not accepted yet, in the format of clients/README.md.

An entry is synced before `store()` returns. Several processes may use one folder: see `spool_lock.py`.
"""

from __future__ import annotations

import contextlib
import json
import os
import re
import secrets
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from esteira_client.errors import OptionError, SpoolError, SpoolFullError
from esteira_client.messages import HandOver, file_error

VERSION = 1
ENTRY = re.compile(r"\d{13}-[0-9a-f]{8}-\d{6}\.json")
LEFTOVER = re.compile(r"\d{13}-[0-9a-f]{8}-\d{6}\.(?:json\.tmp|bin|bin\.tmp)|lock[.-][0-9a-f]{8}\.tmp")
HOOK = re.compile(r"/hooks/[a-z]+")
MAX_ASIDE = 1000  # entries in the folder `aside`
USAGE_TTL_S = 1.0  # after which the folder is measured again, because other processes write to it
LEFTOVER_S = 3600.0  # age of a `.tmp`, or of bytes without an entry, that a killed process has left
CHUNK_BYTES = 1_000_000


@dataclass(frozen=True)
class SpoolOptions:
    """Where the spool is, and its limits. `max_bytes` counts all files of the folder, also those moved aside.

    Raises:
        OptionError: a limit is not above 0.
    """

    folder: str | Path = field(default_factory=lambda: os.environ.get("ESTEIRA_SPOOL") or "esteira-spool")
    max_entries: int = 10_000
    max_bytes: int = 1024**3
    max_age_s: float = 14 * 86_400

    def __post_init__(self) -> None:
        for name in ("max_entries", "max_bytes", "max_age_s"):
            if not getattr(self, name) > 0:
                raise OptionError(f"{name} is above 0")


@dataclass(frozen=True)
class Entry:
    """A hand-over in the spool: its file, and when it was stored in Unix seconds."""

    name: str
    sent: HandOver
    stored_at: float


class Spool:
    """The folder of a client. Its methods block and may be called from any thread."""

    def __init__(self, options: SpoolOptions) -> None:
        self.options = options
        self.folder = Path(options.folder).absolute()
        self.aside = self.folder / "aside"
        self._lock = threading.Lock()
        self._process = secrets.token_hex(4)
        self._pid = os.getpid()
        self._counter = 0
        self._last_ms = 0  # names keep their order although the clock is set back
        self._usage = _Usage(0, 0)
        self._measured_at = float("-inf")

    def store(self, sent: HandOver) -> str:
        """Writes a hand-over and syncs it; returns the name of the entry.

        Raises:
            SpoolFullError: a limit is reached.
            MessageError: there is no file to read.
            SpoolError: `spool_failed`: the disk is full, or the folder cannot be written.
        """
        try:
            with self._lock:
                self._make_folders()
                return self._store(sent)
        except OSError as error:
            raise SpoolError(f"the spool cannot be written: {error.strerror}", code="spool_failed") from None

    def names(self) -> list[str]:
        """The names of the entries, the oldest first; empty if there is no folder."""
        return sorted(_names_in(self.folder, ENTRY))

    def is_empty(self) -> bool:
        return next(_names_in(self.folder, ENTRY), None) is None

    def has(self, name: str) -> bool:
        return (self.folder / name).exists()

    def load(self, name: str) -> Entry | None:
        """The entry; None if another process has sent it.

        Raises:
            SpoolError: `spool_damaged`.
            OSError: the disk or the system fails, which says nothing about the entry.
        """
        try:
            content = (self.folder / name).read_bytes()
        except FileNotFoundError:
            return None
        except (IsADirectoryError, PermissionError) as error:
            raise SpoolError(f"{name} cannot be read: {error.strerror}", code="spool_damaged") from None
        try:
            return self._parsed(name, json.loads(content))
        except (ValueError, TypeError, LookupError, OverflowError, RecursionError):
            raise SpoolError(f"the spool's entry {name} is damaged", code="spool_damaged") from None

    def is_expired(self, entry: Entry) -> bool:
        return time.time() - entry.stored_at > self.options.max_age_s

    def remove(self, name: str) -> None:
        """Deletes an entry that the server has accepted. The entry goes first: bytes alone are a leftover."""
        for path in (self.folder / name, self.folder / _bytes_name(name)):
            path.unlink(missing_ok=True)
        self._measured_at = float("-inf")

    def move_aside(self, name: str) -> None:
        """Moves an entry to the folder `aside`, where a person may look at it; deletes the oldest there."""
        self._make_folders()
        for part in (_bytes_name(name), name):
            with contextlib.suppress(FileNotFoundError):
                (self.folder / part).rename(self.aside / part)
        for old in sorted(_names_in(self.aside, ENTRY))[:-MAX_ASIDE]:
            for part in (old, _bytes_name(old)):
                (self.aside / part).unlink(missing_ok=True)

    def remove_leftovers(self) -> None:
        """Deletes what killed processes have left: unfinished files, and bytes whose entry does not exist."""
        before = time.time() - LEFTOVER_S
        for path in [self.folder / name for name in _names_in(self.folder, LEFTOVER)]:
            with contextlib.suppress(FileNotFoundError):
                if not path.with_suffix(".json").exists() and path.stat().st_mtime < before:
                    path.unlink()

    def _make_folders(self) -> None:
        self.folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        self.aside.mkdir(mode=0o700, exist_ok=True)

    def _store(self, sent: HandOver) -> str:
        name, size = self._next_name(), sent.size
        content = _content_of(sent, name, size)
        self._check_limits(len(content) + size)
        if sent.file is not None:
            self._write(_bytes_name(name), _chunks_of(sent.file))
            size = (self.folder / _bytes_name(name)).stat().st_size  # a file may have grown meanwhile
            content = _content_of(sent, name, size)
        self._write(name, iter([content]))
        self._usage = _Usage(self._usage.entries + 1, self._usage.size + len(content) + size)
        return name

    def _next_name(self) -> str:
        if self._pid != os.getpid():  # after a fork
            self._process, self._pid = secrets.token_hex(4), os.getpid()
        self._counter = (self._counter + 1) % 1_000_000
        self._last_ms = max(self._last_ms, int(time.time() * 1000))
        return f"{self._last_ms:013d}-{self._process}-{self._counter:06d}.json"

    def _check_limits(self, size: int) -> None:
        if time.monotonic() - self._measured_at > USAGE_TTL_S:
            self._usage, self._measured_at = _measured(self.folder, self.aside), time.monotonic()
        if self._usage.entries >= self.options.max_entries:
            raise SpoolFullError(f"the spool has {self._usage.entries} entries, its limit (max_entries)")
        if self._usage.size + size > self.options.max_bytes:
            raise SpoolFullError(f"the spool would exceed {self.options.max_bytes} bytes, its limit (max_bytes)")

    def _write(self, name: str, chunks: Iterator[bytes]) -> None:
        """Writes a file so that it exists with all of its bytes, or not at all."""
        unfinished = self.folder / f"{name}.tmp"
        try:
            descriptor = os.open(unfinished, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
            with os.fdopen(descriptor, "wb") as out:
                for chunk in chunks:
                    out.write(chunk)
                out.flush()
                os.fsync(out.fileno())
            unfinished.rename(self.folder / name)
            _sync_folder(self.folder)
        except BaseException:
            unfinished.unlink(missing_ok=True)
            raise

    def _parsed(self, name: str, fields: Any) -> Entry:
        if fields["v"] != VERSION or not HOOK.fullmatch(fields["path"]):
            raise ValueError(name)
        known, at = (str(fields["id"]), str(fields["message_id"])), float(fields["at"]) / 1000
        if "file" not in fields:
            return Entry(name, HandOver(fields["path"], dict(fields["body"]), *known), at)
        file = fields["file"]
        path = self.folder / _bytes_name(name)
        if file["name"] != path.name or not path.exists() or path.stat().st_size != file["size"]:
            raise ValueError(name)
        form = HandOver(fields["path"], dict(fields["fields"]), *known, path)
        named: dict[str, Any] = {key: str(file[key]) for key in ("filename", "mimetype") if file.get(key)}
        return Entry(name, replace(form, **named), at)


@dataclass(frozen=True)
class _Usage:
    entries: int
    size: int


def _measured(*folders: Path) -> _Usage:
    entries = size = 0
    for index, folder in enumerate(folders):
        for item in os.scandir(folder):
            with contextlib.suppress(FileNotFoundError):
                size += item.stat().st_size if item.is_file() else 0
                entries += index == 0 and ENTRY.fullmatch(item.name) is not None
    return _Usage(entries, size)


def _content_of(sent: HandOver, name: str, size: int) -> bytes:
    fields: dict[str, Any] = {"v": VERSION, "path": sent.path, "id": sent.id, "message_id": sent.message_id}
    fields["at"] = int(name[:13])
    if sent.file is None:
        return json.dumps(fields)[:-1].encode() + b', "body": ' + sent.json + b"}"
    file = {"name": _bytes_name(name), "size": size, "filename": sent.filename, "mimetype": sent.mimetype}
    return json.dumps({**fields, "fields": sent.form_fields(), "file": file}).encode()


def _chunks_of(file: bytes | Path) -> Iterator[bytes]:
    if isinstance(file, bytes):
        yield file
        return
    try:
        source = file.open("rb")
    except (FileNotFoundError, PermissionError) as error:
        raise file_error(error) from None
    with source:
        while chunk := source.read(CHUNK_BYTES):
            yield chunk


def _names_in(folder: Path, pattern: re.Pattern[str]) -> Iterator[str]:
    with contextlib.suppress(FileNotFoundError, NotADirectoryError), os.scandir(folder) as items:
        yield from (item.name for item in items if pattern.fullmatch(item.name))


def _bytes_name(name: str) -> str:
    return name.removesuffix(".json") + ".bin"


def _sync_folder(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
