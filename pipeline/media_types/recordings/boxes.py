"""Boxes of MP4 and QuickTime files: movies without `ftyp`, and encrypted tracks. Runs in the sandbox.

Only the boxes on the way to a track's formats are followed, without recursion. Layout: ISO/IEC 14496-12 4.2 and 8.
"""

from __future__ import annotations

import os
import re
import struct
from collections.abc import Iterator
from itertools import islice
from typing import NamedTuple

# Boxes with which movies begin that QuickTime wrote before `ftyp` was introduced, or writes in front of it.
FIRST_BOXES = frozenset({b"skip", b"free", b"pnot", b"wide", b"mdat", b"moov", b"PICT", b"junk", b"uuid"})
# Sample formats of encrypted tracks: common encryption (ISO/IEC 23001-7), FairPlay, Audible.
ENCRYPTED_FORMATS = frozenset({b"encv", b"enca", b"enct", b"encs", b"drms", b"drmi", b"aavd"})
_NAMES = re.compile(b"|".join(sorted(ENCRYPTED_FORMATS)))
MAX_SEARCHED = 4_000_000  # bytes of an index that are searched at once
MAX_BOXES = 1000  # within one box; those behind them are ignored
MAX_BRANDS = 4096  # bytes of the box `ftyp`
MAX_TRACKS = 50
MAX_FORMATS = 16  # of one track
HEAD_BYTES, LONG_HEAD_BYTES = 8, 16
TO_HANDLER, TO_FORMATS = (b"mdia", b"hdlr"), (b"mdia", b"minf", b"stbl", b"stsd")


class Box(NamedTuple):
    """A box: its name, and where its content begins and ends in the file."""

    name: bytes
    start: int
    end: int


class Track(NamedTuple):
    """Handler of a track, such as b"vide" or b"soun", and the formats of its samples."""

    handler: bytes
    formats: tuple[bytes, ...]


def movie_brand(file: int) -> bytes | None:
    """What identifies a movie that begins with one of FIRST_BOXES: its box `ftyp`, or b"" if it has an index alone.

    None if it has neither at its top level.
    """
    for box in _top_boxes(file):
        if box.name == b"ftyp":
            return os.pread(file, MAX_BRANDS, box.start - HEAD_BYTES)
        if box.name == b"moov":
            return b""
    return None


def tracks(file: int) -> list[Track]:
    """The tracks of a movie, at most MAX_TRACKS."""
    movie = _movie(file)
    if movie is None:
        return []
    found = (box for box in _boxes(file, movie.start, movie.end) if box.name == b"trak")
    return [Track(_handler(file, track), _formats(file, track)) for track in islice(found, MAX_TRACKS)]


def is_encrypted(file: int) -> bool:
    """Whether the samples of a track are encrypted and there are samples."""
    movie = _movie(file)
    if movie is None or not _mentions_encryption(file, movie):
        return False
    return any(not ENCRYPTED_FORMATS.isdisjoint(track.formats) for track in tracks(file)) and any(
        box.name == b"mdat" and box.end > box.start for box in _top_boxes(file)
    )


def _movie(file: int) -> Box | None:
    return next((box for box in _top_boxes(file) if box.name == b"moov"), None)


def _mentions_encryption(file: int, movie: Box) -> bool:
    """Whether the name of an encrypted format occurs: a search costs less than to follow the boxes of each movie."""
    size = movie.end - movie.start
    return size > MAX_SEARCHED or _NAMES.search(os.pread(file, size, movie.start)) is not None


def _top_boxes(file: int) -> Iterator[Box]:
    return _boxes(file, 0, os.fstat(file).st_size)


def _boxes(file: int, at: int, end: int) -> Iterator[Box]:
    """The boxes from a position up to an end. The last one ends there, whatever size it states."""
    for _ in range(MAX_BOXES):
        if at + HEAD_BYTES > end:
            return
        head = os.pread(file, LONG_HEAD_BYTES, at)
        if len(head) < HEAD_BYTES:
            return
        size, name = struct.unpack_from(">I4s", head)
        start = at + HEAD_BYTES
        if size == 1:
            size, start = int.from_bytes(head[HEAD_BYTES:], "big"), at + LONG_HEAD_BYTES
        stop = at + size if size else end  # 0: up to the end
        if stop < start:
            return
        yield Box(name, start, min(stop, end))
        at = stop


def _find(file: int, box: Box, path: tuple[bytes, ...]) -> Box | None:
    for name in path:
        inner = next((inner for inner in _boxes(file, box.start, box.end) if inner.name == name), None)
        if inner is None:
            return None
        box = inner
    return box


def _handler(file: int, track: Box) -> bytes:
    box = _find(file, track, TO_HANDLER)
    return os.pread(file, 4, box.start + 8) if box else b""


def _formats(file: int, track: Box) -> tuple[bytes, ...]:
    box = _find(file, track, TO_FORMATS)
    if box is None:
        return ()
    return tuple(entry.name for entry in islice(_boxes(file, box.start + 8, box.end), MAX_FORMATS))
