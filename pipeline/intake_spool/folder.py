"""The folder of the intake spool: entries in order, within limits of size and age, on disk before `add` returns."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from tempfile import TemporaryFile
from typing import NamedTuple
from uuid import uuid4

from pipeline.config.limits import MB
from pipeline.config.settings import Settings
from pipeline.intake_spool.entry import EntryName, SpooledAttachment, encode_entry, parse_name, read_entry
from pipeline.intake_spool.files import listed, remove_leftover, size_on_disk, sync_folder
from pipeline.intake_spool.usage import Usage, disk_bytes, lock, locked_usage, read_usage
from pipeline.models import Attachment
from pipeline.security.encryption import SourceCipher
from pipeline.security.private_dirs import make_private_dir, private_opener
from pipeline.values.paths import nearest_existing

DAMAGED = "damaged"  # the folder in the spool for entries that cannot be handed over
USAGE, TURN = ".usage", ".turn"  # files that processes lock
PART = ".part-"  # the beginning of the names of files in progress
AGE_CHECK_S = 10.0  # the age of the oldest entry is looked up again after this time
HOUR_S = 3600


class SpoolUnavailableError(Exception):
    """Raised when the spool takes no entry: it is full, its oldest entry is too old, or the folder is not writable."""


class SpoolStatus(NamedTuple):
    """What waits in the spool. `damaged` counts the entries that were set aside."""

    entries: int = 0
    size_bytes: int = 0
    oldest_s: float = 0.0
    damaged: int = 0


class IntakeSpool:
    """The spool in one folder, for all threads and processes of a machine. It is created with the first entry.

    `max_bytes` limits what it takes of the disk. No entry is added while the oldest one is older than `max_age_s`;
    those that are there stay. `clock` returns Unix seconds.
    """

    def __init__(
        self,
        folder: Path,
        cipher: SourceCipher,
        *,
        max_bytes: int,
        max_age_s: float,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self.folder = folder
        self.max_bytes = max_bytes
        self.max_age_s = max_age_s
        self._cipher = cipher
        self._clock = clock
        self._counted = False
        self._age_due = 0.0
        self._oldest: EntryName | None = None

    def add(self, attachment: Attachment, chunks: Iterable[bytes] | None = None, *, size_hint: int = 0) -> None:
        """Adds an attachment, with the inline bytes in `chunks`; on disk when this returns.

        `size_hint` is their approximate size, so that bytes without room are not written at all.

        Raises:
            SpoolUnavailableError: it cannot take the entry.
            PayloadError: `chunks` raises it.
        """
        parts: list[Path] = []
        try:
            make_private_dir(self.folder)
            self._check_age()
            with self._locked() as usage:
                self._check_room(usage, disk_bytes(size_hint))
            size = self._write(chunks, parts) if chunks is not None else None
            self._write([encode_entry(attachment, self._cipher, size=size)], parts)
            self._publish(attachment.id, parts)
            sync_folder(self.folder)
        except OSError as error:
            raise SpoolUnavailableError(f"{self.folder} cannot be written: {error.strerror}") from None
        finally:
            for part in parts:
                with suppress(OSError):
                    part.unlink(missing_ok=True)

    def names(self) -> list[EntryName]:
        """The entries, oldest first. Empty if the folder is missing or cannot be read."""
        try:
            return sorted(filter(None, map(parse_name, listed(self.folder))))
        except OSError:
            return []

    def read(self, name: EntryName) -> SpooledAttachment:
        """The attachment of an entry; raises what `read_entry` raises."""
        return read_entry(self.folder, name, self._cipher)

    def remove(self, name: EntryName) -> None:
        """Removes an entry that was handed over.

        Raises:
            OSError: the disk fails.
        """
        with self._locked() as usage:
            size = sum(map(size_on_disk, self._files(name)))
            for file in self._files(name):
                file.unlink(missing_ok=True)
            usage.subtract(size)

    def set_aside(self, name: EntryName) -> Path:
        """Moves an entry to the folder `damaged`; returns the new path of its JSON file.

        Raises:
            OSError: the disk fails.
        """
        folder = self.folder / DAMAGED
        make_private_dir(folder)
        with self._locked() as usage:
            size = sum(map(size_on_disk, self._files(name)))
            for file in self._files(name):
                with suppress(FileNotFoundError):
                    file.rename(folder / file.name)
            usage.subtract(size)
        return folder / name.file

    def status(self) -> SpoolStatus:
        """What waits now. Zeros if the folder is missing or cannot be read."""
        try:
            usage = read_usage(self.folder / USAGE)
            damaged = sum(parse_name(file) is not None for file in listed(self.folder / DAMAGED))
        except OSError:
            return SpoolStatus()
        names = self.names()
        age_s = self._age_s(names[0]) if names else 0.0
        return SpoolStatus(len(names), usage.size_bytes if names else 0, age_s, damaged)

    def fault(self) -> str | None:
        """Why the folder cannot be used; None if it can, or can be created."""
        place = self.folder if self.folder.exists() else nearest_existing(self.folder)
        if not place.is_dir():
            return f"{place} is not a directory"
        try:
            with TemporaryFile(dir=place):
                return None
        except OSError as error:
            return f"{place} is not writable: {error.strerror}"

    def refusal(self) -> str | None:
        """Why it takes no further entry now; None if it does."""
        if fault := self.fault():
            return fault
        try:
            self._check_room(read_usage(self.folder / USAGE), disk_bytes(0))
            self._check_age()
        except (SpoolUnavailableError, OSError) as error:
            return str(error)
        return None

    @contextmanager
    def turn(self) -> Iterator[bool]:
        """Whether this process may hand over the entries during the block: one process at a time does.

        Raises:
            OSError: the folder cannot be written.
        """
        with lock(self.folder / TURN, wait=False) as descriptor:
            yield descriptor is not None

    def _write(self, chunks: Iterable[bytes], parts: list[Path]) -> int:
        """Writes a file in progress, which is appended to `parts`; returns its size."""
        part = self.folder / f"{PART}{uuid4().hex}"
        parts.append(part)
        size = 0
        with open(part, "xb", opener=private_opener) as out:
            for chunk in chunks:
                out.write(chunk)
                size += len(chunk)
            out.flush()
            os.fsync(out.fileno())
        return size

    def _publish(self, media_id: str, parts: list[Path]) -> None:
        """Gives the files in progress the names of the next entry, the JSON file last."""
        size = sum(map(size_on_disk, parts))
        with self._locked() as usage:
            self._check_room(usage, size)
            # A clock that was set back must not change the order.
            usage.sequence = max(int(self._clock() * 1_000_000), usage.sequence + 1)
            usage.add(size)
            name = EntryName(usage.sequence, media_id)
            if len(parts) > 1:
                parts[0].rename(self.folder / name.bytes_file)
            parts[-1].rename(self.folder / name.file)

    @contextmanager
    def _locked(self) -> Iterator[Usage]:
        with locked_usage(self.folder / USAGE, self._count, trusted=self._counted) as usage:
            self._counted = True
            yield usage

    def _count(self) -> Usage:
        """Counts the entries, and removes what processes that died have left."""
        usage = Usage()
        names = self.names()
        for name in names:
            usage.add(sum(map(size_on_disk, self._files(name))))
        usage.sequence = names[-1].sequence if names else 0
        known = {name.bytes_file for name in names}
        for file in listed(self.folder):
            if file.startswith(PART) or (file.endswith(".bytes") and file not in known):
                remove_leftover(self.folder / file)
        return usage

    def _check_room(self, usage: Usage, size: int) -> None:
        if usage.size_bytes + size > self.max_bytes:
            raise SpoolUnavailableError(f"{self.folder} is full: INTAKE_SPOOL_MB is {self.max_bytes / MB:g}")

    def _check_age(self) -> None:
        now = time.monotonic()
        if now >= self._age_due:
            self._age_due = now + AGE_CHECK_S
            self._oldest = next(iter(self.names()), None)
        if self._oldest and self._age_s(self._oldest) > self.max_age_s:
            hours = self.max_age_s / HOUR_S
            raise SpoolUnavailableError(f"{self.folder} has entries older than INTAKE_SPOOL_HOURS, {hours:g}")

    def _age_s(self, name: EntryName) -> float:
        return max(0.0, self._clock() - name.sequence / 1_000_000)

    def _files(self, name: EntryName) -> tuple[Path, Path]:
        return self.folder / name.file, self.folder / name.bytes_file


def open_spool(settings: Settings) -> IntakeSpool | None:
    """The spool of INTAKE_SPOOL; None if it is off."""
    if settings.spool_folder is None:
        return None
    return IntakeSpool(
        settings.spool_folder,
        SourceCipher(settings.source_keys),
        max_bytes=int(settings.intake_spool_mb * MB),
        max_age_s=settings.intake_spool_hours * HOUR_S,
    )
