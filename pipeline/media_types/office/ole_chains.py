"""Sector chains of OLE compound files, followed as far as a stream needs them. Layout: [MS-CFB] 2.3 to 2.6.

Office reads no sector behind the end of a stream. Writers let chains run on into the sectors of other streams, end them
without a mark, and cut the last sector of the file short; none of that matters.
"""

from __future__ import annotations

import struct
from collections.abc import Sequence
from typing import Any

import olefile

from pipeline.sandbox import Reason, Refusal

STREAM = 2  # type of a directory entry
ENTRY_SIZE = 128  # bytes of a directory entry
MINI_SECTOR = 64  # bytes
SECTOR_SHIFTS = (9, 12)  # sectors of 512 and of 4096 bytes
HEADER_FATS = 109  # sectors of the FAT that the header lists


def check_header(header: bytes, *, file_size: int) -> None:
    """Checks the fields that decide how much memory and time it takes to read the FAT.

    Raises:
        PermanentError: `broken`: no such sector size exists, or the FAT is far larger than the file needs.
    """
    (shift,) = struct.unpack_from("<H", header, 30)
    (fat_sectors,) = struct.unpack_from("<I", header, 44)
    if shift not in SECTOR_SHIFTS:
        raise Refusal(Reason.NOT_DECODABLE, form="an OLE document")
    needed = file_size // (1 << shift) // ((1 << shift) // 4) + 1
    if fat_sectors > 2 * needed + HEADER_FATS:
        raise Refusal(Reason.OLE_TOO_SHORT)


def check_stream(ole: Any, entry: Any, size: int) -> None:
    """Follows the chains of the directory and of the first `size` bytes of a stream, without reading the stream.

    Raises:
        PermanentError: `broken`: the directory loops, or the chain of the stream ends early, loops or enters the
            directory.
    """
    directory = _directory_sectors(ole)
    if is_small(ole, entry):
        _mini_sectors(ole, entry)
        return
    needed = (entry.sid + 1) * ENTRY_SIZE // ole.sectorsize + 1
    if not set(directory[:needed]).isdisjoint(_chain(ole.fat, entry.isectStart, _count(size, ole.sectorsize))):
        raise Refusal(Reason.OLE_BAD_CHAIN)


def read_start(ole: Any, entry: Any, size: int) -> bytes:
    """The first bytes of a stream: `size` of them, or all if it has fewer.

    Raises:
        PermanentError: `broken`: the chain ends before these bytes.
    """
    size = min(size, entry.size)
    if not is_small(ole, entry):
        return _read(ole, _chain(ole.fat, entry.isectStart, _count(size, ole.sectorsize)))[:size]
    places = [number * MINI_SECTOR for number in _mini_sectors(ole, entry)[: _count(size, MINI_SECTOR)]]
    stream = _read(ole, _chain(ole.fat, ole.root.isectStart, _count(max(places) + MINI_SECTOR, ole.sectorsize)))
    return b"".join(stream[place : place + MINI_SECTOR] for place in places)[:size]


def is_small(ole: Any, entry: Any) -> bool:
    """Whether the stream is in the mini stream, which holds all small streams."""
    return bool(entry.entry_type == STREAM and 0 < entry.size < ole.minisectorcutoff)


def _count(size: int, sector_size: int) -> int:
    return -(-size // sector_size)


def _chain(table: Sequence[int], sector: int, count: int) -> list[int]:
    """The first `count` sectors of a chain.

    Raises:
        PermanentError: `broken`: there are fewer, or one comes twice.
    """
    if count > len(table):
        raise Refusal(Reason.OLE_TOO_SHORT)
    sectors = []
    for _ in range(count):
        if not 0 <= sector < len(table):
            raise Refusal(Reason.OLE_BAD_CHAIN)
        sectors.append(sector)
        sector = table[sector]
    if len(set(sectors)) < count:
        raise Refusal(Reason.OLE_BAD_CHAIN)
    return sectors


def _directory_sectors(ole: Any) -> list[int]:
    """All sectors of the directory. Its length is not declared: it ends with a mark, or a number that the FAT lacks."""
    sectors, sector = [], ole.first_dir_sector
    while sector != olefile.ENDOFCHAIN and 0 <= sector < len(ole.fat):
        sectors.append(sector)
        if len(sectors) > len(ole.fat):
            raise Refusal(Reason.OLE_BAD_CHAIN)
        sector = ole.fat[sector]
    return sectors


def _mini_sectors(ole: Any, entry: Any) -> list[int]:
    """Numbers of the mini sectors of a small stream. The mini FAT is read as far as it goes."""
    sectors: list[int] = []
    sector = ole.first_mini_fat_sector
    while sector != olefile.ENDOFCHAIN and 0 <= sector < len(ole.fat) and len(sectors) < len(ole.fat):
        sectors.append(sector)
        sector = ole.fat[sector]
    table = _read(ole, sectors)
    numbers = struct.unpack_from(f"<{len(table) // 4}I", table)
    return _chain(numbers, entry.isectStart, _count(entry.size, MINI_SECTOR))


def _read(ole: Any, sectors: Sequence[int]) -> bytes:
    """Content of the sectors. The last sector of a file may be cut short."""
    parts = []
    for sector in sectors:
        ole.fp.seek((sector + 1) * ole.sectorsize)
        parts.append(ole.fp.read(ole.sectorsize))
    return b"".join(parts)
