"""The ISO base media format (MP4, MOV, 3GP, M4A, HEIC, AVIF): brands and tracks. Layout: ISO/IEC 14496-12."""

from __future__ import annotations

import os
import struct
from collections.abc import Iterator
from typing import IO

FAMILIES = {
    b"qt  ": "mov", b"heic": "heic", b"heix": "heic", b"hevc": "heic", b"hevx": "heic", b"heim": "heic",
    b"heis": "heic", b"avif": "avif", b"avis": "avif", b"M4A ": "m4a", b"M4B ": "m4a", b"M4P ": "m4a",
}  # fmt: skip
IMAGE_CONTAINERS = frozenset({b"mif1", b"msf1"})  # say nothing of the codec: the compatible brands do
NO_MEDIA = frozenset({b"jp2 ", b"jpx ", b"jpm ", b"jxl ", b"crx ", b"mjp2"})
MAX_BOXES = 10_000
MAX_FTYP = 4096
MAX_CHAPTER_TRACKS = 16


def family(head: bytes) -> str | None:
    """What the brands in the first box make of a file: the name of a type, "mp4" for what is none other, or None."""
    size = min(int.from_bytes(head[:4], "big"), len(head), MAX_FTYP)
    major = head[8:12]
    brands = [major, *(head[at : at + 4] for at in range(16, size - 3, 4))]
    if major in NO_MEDIA or len(major) < 4:
        return None
    if major in IMAGE_CONTAINERS:
        return next((FAMILIES[brand] for brand in brands if FAMILIES.get(brand) in {"avif", "heic"}), None)
    if major[:2] in {b"3g", b"kd"}:
        return "3gp"
    return FAMILIES.get(major, "mp4")


def handlers(file: IO[bytes]) -> frozenset[bytes]:
    """The handlers of all tracks, `vide`, `soun` and others; none where the movie box is missing or damaged.

    A track that another one names as its chapters does not count: the pictures of a podcast's chapters make no video.
    """
    end = file.seek(0, os.SEEK_END)
    tracks = [track for movie in _inside(file, (0, end), b"moov") for track in _inside(file, movie, b"trak")]
    chapters = {number for track in tracks for number in _chapters(file, track)}
    return frozenset(_handler(file, track) for track in tracks if _number(file, track) not in chapters)


def _handler(file: IO[bytes], track: tuple[int, int]) -> bytes:
    for media in _inside(file, track, b"mdia"):
        for start, _ in _inside(file, media, b"hdlr"):
            return _read(file, start + 8, 4)
    return b""


def _number(file: IO[bytes], track: tuple[int, int]) -> bytes:
    for start, _ in _inside(file, track, b"tkhd"):
        long_times = _read(file, start, 1) == b"\1"
        return _read(file, start + (20 if long_times else 12), 4)
    return b""


def _chapters(file: IO[bytes], track: tuple[int, int]) -> list[bytes]:
    """The numbers of the tracks that hold the chapters of this one."""
    return [
        _read(file, at, 4)
        for references in _inside(file, track, b"tref")
        for start, end in _inside(file, references, b"chap")
        for at in range(start, min(end, start + 4 * MAX_CHAPTER_TRACKS), 4)
    ]


def _read(file: IO[bytes], start: int, size: int) -> bytes:
    file.seek(start)
    return file.read(size)


def _inside(file: IO[bytes], within: tuple[int, int], wanted: bytes) -> Iterator[tuple[int, int]]:
    """Where the bodies of the boxes of this name begin and end, within this range."""
    start, end = within
    for _ in range(MAX_BOXES):
        if start + 8 > end:
            return
        file.seek(start)
        head = file.read(16)
        if len(head) < 8:
            return
        size, name = struct.unpack_from(">I4s", head)
        skip = 8
        if size == 1 and len(head) == 16:
            size, skip = int.from_bytes(head[8:], "big"), 16
        size = size or end - start  # 0: until the end of the file
        if size < skip:
            return
        if name == wanted:
            yield start + skip, min(start + size, end)
        start += size
