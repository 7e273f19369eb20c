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
from pipeline.media_types.rejections import decoding
from pipeline.sandbox import Reason, Refusal

END_RECORD, LOCAL_HEADER = b"PK\x05\x06", b"PK\x03\x04"
END_SIZE, LOCAL_SIZE = 22, 30
MAX_COMMENT = 0xFFFF
ENCRYPTED, STREAMED, UTF8 = 0x1, 0x8, 0x800  # bits of the general purpose flags
SYMLINK, FILE_TYPE = 0o120000, 0o170000  # of st_mode, in the upper half of the external attributes
UNIX = 3
CHUNK_BYTES = 1 << 18
FREE_EXPANSION = 1_000_000  # bytes that any archive may expand to, whatever the ratio: repetitive XML does
MAX_UNPACKED = 512_000_000  # bytes that are unpacked for the check, about two seconds of CPU
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
    """One zip archive. Its directory is read, and counted against the budget, by the constructor."""

    def __init__(self, file: IO[bytes], budget: Budget) -> None:
        self._file = file
        self._size = file.seek(0, io.SEEK_END)
        self._budget = budget
        self._check_end(self._tail())
        self.entries = zipfile.ZipFile(file).infolist()
        budget.spend(entries=len(self.entries), size=sum(entry.file_size for entry in self.entries))

    def _tail(self) -> bytes:
        self._file.seek(max(0, self._size - END_SIZE - MAX_COMMENT))
        return self._file.read()

    def _check_end(self, tail: bytes) -> None:
        """Checks that one end record ends the file and follows the directory that it names."""
        ends = [at for at in _occurrences(tail, END_RECORD) if at + END_SIZE + _uint16(tail, at + 20) == len(tail)]
        if len(ends) != 1:
            raise Refusal(Reason.ZIP_TWO_ENDS if ends else Reason.ZIP_NO_END)
        entries, size, offset = struct.unpack_from("<HII", tail, ends[0] + 10)
        if entries == 0xFFFF or 0xFFFFFFFF in (size, offset):
            return  # zip64: its own records are between the directory and this one
        self._budget.check_entries(entries)
        if offset + size != self._size - len(tail) + ends[0]:
            raise Refusal(Reason.ZIP_FOREIGN_BYTES)

    def find(self, name: str) -> zipfile.ZipInfo | None:
        """The entry with this name. OPC compares part names without case."""
        lowered = name.lstrip("/").lower()
        return next((entry for entry in self.entries if entry.filename.lower() == lowered), None)

    def read(self, entry: zipfile.ZipInfo, limit: int) -> bytes:
        """The whole content of an entry.

        Raises:
            PermanentError: `broken`, also for an entry larger than `limit` bytes.
        """
        if entry.file_size > limit:
            raise Refusal(Reason.ZIP_LARGE_PART, allowed=limit)
        return b"".join(self.chunks(entry))

    def check_entries(self) -> None:
        """Compares names, flags, sizes and offsets of all entries with each other and with their local headers.

        Raises:
            PermanentError: `broken`; `type_not_allowed` for entry names that lead out of the archive.
        """
        end = 0
        for entry in sorted(self.entries, key=lambda entry: entry.header_offset):
            _check_name(entry)
            if entry.header_offset < end:
                raise Refusal(Reason.ZIP_OVERLAP)
            end = self._data_start(entry) + entry.compress_size
        if end > self._size:
            raise Refusal(Reason.ZIP_LEAVES_FILE)

    def check_bytes(self, depth: int = 1) -> None:
        """Unpacks every entry in memory, chunk by chunk and no further than the directory states.

        Entries behind the first MAX_UNPACKED bytes are not unpacked: the directory has counted them against the budget.

        Raises:
            PermanentError: `broken`, `expands_too_far`.
        """
        unpacked = 0
        for entry in self.entries:
            unpacked += entry.file_size
            if unpacked > MAX_UNPACKED:
                return
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
        for chunk in self._unpacked(entry):
            size += len(chunk)
            if size > entry.file_size:
                raise Refusal(Reason.ZIP_MORE_BYTES)
            checksum = zlib.crc32(chunk, checksum)
            yield chunk
        if size != entry.file_size or checksum != entry.CRC:
            raise Refusal(Reason.ZIP_OTHER_BYTES)

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
        """Offset of the bytes of an entry, after a comparison of its local header with the directory."""
        self._file.seek(entry.header_offset)
        head = self._file.read(LOCAL_SIZE)
        if len(head) < LOCAL_SIZE or not head.startswith(LOCAL_HEADER):
            raise Refusal(Reason.ZIP_NO_HEADER)
        flags, method = struct.unpack_from("<HH", head, 6)
        packed, size, name_length, extra_length = struct.unpack_from("<IIHH", head, 18)
        if (flags | entry.flag_bits) & ENCRYPTED:
            raise Refusal(Reason.ZIP_ENCRYPTED)
        if method not in {zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED}:
            raise Refusal(Reason.ZIP_METHOD)
        # A streamed entry has its sizes behind its bytes, an entry beyond 4 GB in an extra field.
        accepted = {(entry.compress_size, entry.file_size), *([(0, 0)] if flags & STREAMED else [])}
        if (packed, size) not in accepted and 0xFFFFFFFF not in (packed, size):
            raise Refusal(Reason.ZIP_SIZES_DIFFER)
        name = self._file.read(name_length)
        if method != entry.compress_type or name != _raw_name(entry):
            raise Refusal(Reason.ZIP_ENTRIES_DIFFER)
        return int(entry.header_offset + LOCAL_SIZE + name_length + extra_length)


@contextmanager
def open_archive(file: int, *, expansion: int, entries: int) -> Iterator[Archive]:
    """Opens the zip archive in an open file.

    Raises:
        PermanentError: `broken`, `expands_too_far`; `broken` also for errors of zipfile and zlib within the block.
    """
    with decoding("a zip archive", *DECODE_ERRORS), open(file, "rb", closefd=False) as stream:
        size = os.fstat(file).st_size
        yield Archive(stream, Budget(size=size, expansion=expansion, entries=entries))


def _raw_name(entry: zipfile.ZipInfo) -> bytes:
    return entry.orig_filename.encode("utf-8" if entry.flag_bits & UTF8 else "cp437")


def _check_name(entry: zipfile.ZipInfo) -> None:
    name = entry.orig_filename.replace("\\", "/")
    is_link = entry.create_system == UNIX and entry.external_attr >> 16 & FILE_TYPE == SYMLINK
    if name.startswith("/") or ".." in name.split("/") or name[1:2] == ":" or "\0" in name or is_link:
        raise Refusal(Reason.ZIP_NAMES)


def _occurrences(text: bytes, record: bytes) -> Iterator[int]:
    """Offsets of the complete records in the text."""
    at = text.find(record)
    while at >= 0:
        if at + END_SIZE <= len(text):
            yield at
        at = text.find(record, at + 1)


def _uint16(text: bytes, at: int) -> int:
    return int.from_bytes(text[at : at + 2], "little")
