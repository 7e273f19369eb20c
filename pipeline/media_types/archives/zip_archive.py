"""Zip archives from untrusted sources. The central directory is compared with the bytes; nothing is extracted to disk.

Layout: PKWARE's APPNOTE.TXT 6.3.10. OPC packages are either stored or deflated (ECMA-376 part 2, annex C).
"""

from __future__ import annotations

import io
import os
import struct
import zipfile
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from typing import IO

from pipeline.errors import Code, PermanentError
from pipeline.media_types.archives.zip_end import TAIL_BYTES, end_record
from pipeline.media_types.archives.zip_entries import (
    LOCAL_HEADER,
    check_equal_names,
    check_names,
    comparable,
    data_start,
)
from pipeline.media_types.rejections import decoding
from pipeline.sandbox import Reason, Refusal

DIRECTORY_HEADER = b"PK\x01\x02"
CHUNK_BYTES = 1 << 18
FREE_EXPANSION = 1_000_000  # bytes that any archive may expand to, whatever the ratio: repetitive XML does
MAX_UNPACKED = 512_000_000  # bytes that are unpacked for the check, about two seconds of CPU
MAX_IN_MEMORY = 1_000_000  # bytes; smaller archives are read at once, because each jump within a file costs two calls
MAX_NESTED = 64_000_000  # bytes; larger archives within an archive are not opened
MAX_DEPTH = 3  # levels of archives within archives; more are `expands_too_far`
DECODE_ERRORS = (
    zipfile.BadZipFile,
    NotImplementedError,
    OSError,
    EOFError,
    ValueError,
    LookupError,
    struct.error,
    zlib.error,
)


class Budget:
    """The entries and unpacked bytes that an archive and all archives within it may still have."""

    def __init__(self, *, size: int, expansion: int, entries: int) -> None:
        self._expansion, self._max_entries = expansion, entries
        self._bytes = max(FREE_EXPANSION, size * expansion)
        self._entries = entries

    def spend(self, *, entries: int = 0, size: int = 0) -> None:
        """Takes entries and bytes from the budget.

        Raises:
            PermanentError: `expands_too_far`: the budget is used up.
        """
        self.check_entries(entries)
        self._entries -= entries
        self._bytes -= size
        if self._bytes < 0:
            raise Refusal(Reason.EXPANDS_TOO_FAR, allowed=self._expansion)

    def check_entries(self, entries: int) -> None:
        """Checks that the budget has this many entries left, and takes nothing.

        Raises:
            PermanentError: `expands_too_far`.
        """
        if entries > self._entries:
            raise Refusal(Reason.TOO_MANY_ENTRIES, allowed=self._max_entries)


class Archive:
    """One zip archive. Its directory is read, and counted against the budget, by the constructor.

    Entries of an archive that is not `is_unpacked` may be encrypted, or compressed with any method.
    """

    def __init__(self, file: IO[bytes], budget: Budget, *, is_unpacked: bool = True) -> None:
        self._file = file
        self._is_unpacked = is_unpacked
        self._size = file.seek(0, io.SEEK_END)
        self._budget = budget
        self._check_end()
        self.entries = zipfile.ZipFile(file).infolist()
        budget.spend(entries=len(self.entries), size=sum(entry.file_size for entry in self.entries))
        self._by_name = {comparable(entry.filename): entry for entry in self.entries}
        self._starts: dict[zipfile.ZipInfo, int] = {}
        self._read: set[zipfile.ZipInfo] = set()

    def _check_end(self) -> None:
        start = max(0, self._size - TAIL_BYTES)
        self._file.seek(start)
        end = end_record(self._file.read(), start=start)
        if not end.is_zip64:
            self._budget.check_entries(end.entries)
            self._file.seek(end.offset)
            # Counted before they are parsed: the end record may state fewer, and an entry takes more memory than bytes.
            self._budget.check_entries(self._file.read(end.size).count(DIRECTORY_HEADER))

    def find(self, name: str) -> zipfile.ZipInfo | None:
        """The entry with this name, as Office compares names: see `comparable`."""
        return self._by_name.get(comparable(name))

    def read(self, entry: zipfile.ZipInfo, limit: int) -> bytes:
        """The whole content of an entry.

        Raises:
            PermanentError: `broken`, also for an entry larger than `limit` bytes.
        """
        if entry.file_size > limit:
            raise Refusal(Reason.ZIP_LARGE_PART, allowed=limit)
        content = b"".join(self.chunks(entry))
        self._read.add(entry)
        return content

    def check_entries(self) -> None:
        """Compares names, flags, sizes and offsets of all entries with each other and with their local headers.

        Raises:
            PermanentError: `broken`; `type_not_allowed` for entry names that lead out of the archive.
        """
        check_names(self.entries)
        if len(self._by_name) < len(self.entries):
            check_equal_names(self.entries)
        in_order = sorted(self.entries, key=lambda entry: entry.header_offset)
        if in_order and in_order[0].header_offset:
            raise Refusal(Reason.ZIP_FOREIGN_BYTES)
        end = 0
        for entry in in_order:
            if entry.header_offset < end:
                raise Refusal(Reason.ZIP_OVERLAP)
            end = self._data_start(entry) + entry.compress_size
        if end > self._size:
            raise Refusal(Reason.ZIP_LEAVES_FILE)

    def check_bytes(self, depth: int = 1) -> None:
        """Unpacks every entry in memory, chunk by chunk and no further than the directory states.

        Entries behind the first MAX_UNPACKED bytes are not unpacked: the directory has counted them against the budget.
        Those that were `read` are not unpacked again: they are lists and main parts, which hold no archives.

        Raises:
            PermanentError: `broken`, `expands_too_far`.
        """
        unpacked = 0
        for entry in self.entries:
            unpacked += entry.file_size
            if unpacked > MAX_UNPACKED:
                return
            if entry in self._read:
                continue
            chunks = self.chunks(entry)
            first = next(chunks, b"")
            if first.startswith(LOCAL_HEADER) and entry.file_size <= MAX_NESTED:
                self._check_nested(first + b"".join(chunks), depth)
            for _ in chunks:
                pass

    def _check_nested(self, content: bytes, depth: int) -> None:
        if depth >= MAX_DEPTH:
            raise Refusal(Reason.NESTED_TOO_DEEP, depth=depth)
        try:
            with decoding("a zip archive", *DECODE_ERRORS):
                nested = Archive(io.BytesIO(content), self._budget)
                nested.check_bytes(depth + 1)
        except PermanentError as error:
            if error.code != Code.BROKEN:  # content that begins like an archive need not be one
                raise

    def chunks(self, entry: zipfile.ZipInfo) -> Iterator[bytes]:
        """The unpacked bytes of an entry.

        Raises:
            PermanentError: `broken`: size or checksum differ from the directory.
        """
        checksum, size = 0, 0
        is_small = entry.compress_size <= CHUNK_BYTES and entry.file_size <= CHUNK_BYTES
        for chunk in (self._unpacked_at_once(entry),) if is_small else self._unpacked(entry):
            size += len(chunk)
            if size > entry.file_size:
                raise Refusal(Reason.ZIP_MORE_BYTES)
            checksum = zlib.crc32(chunk, checksum)
            yield chunk
        if size != entry.file_size or checksum != entry.CRC:
            raise Refusal(Reason.ZIP_OTHER_BYTES)

    def _unpacked_at_once(self, entry: zipfile.ZipInfo) -> bytes:
        """The bytes of a small entry, at most one more than the directory states, in half the time of `_unpacked`."""
        packed = b"".join(self._packed(entry))
        # Some writers mark an empty entry as deflated and write nothing for it.
        if entry.compress_type == zipfile.ZIP_STORED or not (packed or entry.file_size):
            return packed
        unpacker = zlib.decompressobj(-zlib.MAX_WBITS)
        content = unpacker.decompress(packed, entry.file_size + 1)
        if not unpacker.eof and len(content) <= entry.file_size:
            raise Refusal(Reason.ZIP_CUT)
        return content

    def _unpacked(self, entry: zipfile.ZipInfo) -> Iterator[bytes]:
        if entry.compress_type == zipfile.ZIP_STORED:
            yield from self._packed(entry)
            return
        unpacker = zlib.decompressobj(-zlib.MAX_WBITS)
        for packed in self._packed(entry):
            left = packed
            while left and not unpacker.eof:
                yield unpacker.decompress(left, CHUNK_BYTES)
                left = unpacker.unconsumed_tail
        while not unpacker.eof:
            rest = unpacker.decompress(unpacker.unconsumed_tail, CHUNK_BYTES)
            if not rest:
                raise Refusal(Reason.ZIP_CUT)
            yield rest

    def _packed(self, entry: zipfile.ZipInfo) -> Iterator[bytes]:
        start = self._data_start(entry)
        end = start + entry.compress_size
        while start < end:
            # Seek for every chunk: another entry may be read between two chunks.
            self._file.seek(start)
            chunk = self._file.read(min(CHUNK_BYTES, end - start))
            if not chunk:
                raise Refusal(Reason.ZIP_LEAVES_FILE)
            start += len(chunk)
            yield chunk

    def _data_start(self, entry: zipfile.ZipInfo) -> int:
        start = self._starts.get(entry)
        if start is None:
            start = self._starts[entry] = data_start(self._file, entry, is_unpacked=self._is_unpacked)
        return start


def _stream(file: int, size: int) -> IO[bytes]:
    if size <= MAX_IN_MEMORY:
        return io.BytesIO(os.pread(file, size, 0))
    return open(file, "rb", closefd=False)


@contextmanager
def open_archive(file: int, *, expansion: int, entries: int, is_unpacked: bool = True) -> Iterator[Archive]:
    """Opens the zip archive in an open file. `is_unpacked`: see Archive.

    Raises:
        PermanentError: `broken`, `expands_too_far`; `broken` also for errors of zipfile and zlib within the block.
    """
    size = os.fstat(file).st_size
    with decoding("a zip archive", *DECODE_ERRORS), _stream(file, size) as stream:
        yield Archive(stream, Budget(size=size, expansion=expansion, entries=entries), is_unpacked=is_unpacked)
