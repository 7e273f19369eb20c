"""Zip archives whose every field can be set: valid odd ones and inconsistent ones."""

from __future__ import annotations

import struct
import zlib
from collections.abc import Sequence
from dataclasses import dataclass

STREAMED = 0x8
IN_EXTRA = 0xFFFFFFFF


@dataclass(frozen=True)
class Entry:
    """One entry, marked as deflated. `packed` is its deflated content unless given.

    A field of the local header that is None has the value of the directory.
    """

    name: str
    content: bytes
    local_name: str | None = None
    local_packed: int | None = None
    local_size: int | None = None
    flags: int = 0
    local_extra: bytes = b""
    packed: bytes | None = None


def archive(entries: Sequence[Entry], *, before: bytes = b"", comment: bytes = b"", behind: bytes = b"") -> bytes:
    """An archive of these entries, with bytes `before` the first one and `behind` the end record."""
    body, directory = before, b""
    for entry in entries:
        packed = _deflated(entry.content) if entry.packed is None else entry.packed
        offset, checksum = len(body), zlib.crc32(entry.content)
        body += _local_header(entry, packed, checksum) + packed + _descriptor(entry, packed, checksum)
        fields = (checksum, len(packed), len(entry.content), len(entry.name.encode()), 0, 0, 0, 0, 0, offset)
        directory += struct.pack("<4sHHHHHHIIIHHHHHII", b"PK\1\2", 20, 20, entry.flags, 8, 0, 33, *fields)
        directory += entry.name.encode()
    counts = (0, 0, len(entries), len(entries))
    end = struct.pack("<4sHHHHIIH", b"PK\5\6", *counts, len(directory), len(body), len(comment))
    return body + directory + end + comment + behind


def zip64_sizes(*, packed: int, size: int) -> bytes:
    """The extra field with both sizes in 64 bits."""
    return struct.pack("<HHQQ", 1, 16, size, packed)


def _local_header(entry: Entry, packed: bytes, checksum: int) -> bytes:
    name = (entry.name if entry.local_name is None else entry.local_name).encode()
    packed_size = len(packed) if entry.local_packed is None else entry.local_packed
    size = len(entry.content) if entry.local_size is None else entry.local_size
    checksum = 0 if entry.flags & STREAMED else checksum
    fields = (20, entry.flags, 8, 0, 33, checksum, packed_size, size, len(name), len(entry.local_extra))
    return struct.pack("<4sHHHHHIIIHH", b"PK\3\4", *fields) + name + entry.local_extra


def _descriptor(entry: Entry, packed: bytes, checksum: int) -> bytes:
    if not entry.flags & STREAMED:
        return b""
    return struct.pack("<4sIII", b"PK\7\x08", checksum, len(packed), len(entry.content))


def _deflated(content: bytes) -> bytes:
    packer = zlib.compressobj(wbits=-zlib.MAX_WBITS)
    return packer.compress(content) + packer.flush()
