"""Matroska and WebM: which tracks there are. Layout: RFC 8794 (EBML) and RFC 9559."""

from __future__ import annotations

import os
from collections.abc import Iterator
from typing import IO

SEGMENT, TRACKS, TRACK_ENTRY, TRACK_TYPE = b"\x18\x53\x80\x67", b"\x16\x54\xae\x6b", b"\xae", b"\x83"
VIDEO, AUDIO = 1, 2
MAX_ELEMENTS = 10_000


def track_types(file: IO[bytes]) -> frozenset[int]:
    """The types of all tracks, VIDEO, AUDIO and others; none where their list is missing or damaged."""
    end = file.seek(0, os.SEEK_END)
    return frozenset(
        _number(file, field)
        for segment in _inside(file, (0, end), SEGMENT)
        for tracks in _inside(file, segment, TRACKS)
        for track in _inside(file, tracks, TRACK_ENTRY)
        for field in _inside(file, track, TRACK_TYPE)
    )


def _number(file: IO[bytes], within: tuple[int, int]) -> int:
    file.seek(within[0])
    return int.from_bytes(file.read(min(within[1] - within[0], 8)), "big")


def _inside(file: IO[bytes], within: tuple[int, int], wanted: bytes) -> Iterator[tuple[int, int]]:
    """Where the bodies of the elements of this name begin and end, within this range."""
    start, end = within
    for _ in range(MAX_ELEMENTS):
        file.seek(start)
        head = file.read(min(12, end - start)) + b"\0"
        name, rest = head[: _width(head)], head[_width(head) :]
        width = _width(rest + b"\0")
        if len(name) > 4 or len(rest) <= width:
            return
        size = int.from_bytes(rest[:width], "big") & (1 << 7 * width) - 1
        start += len(name) + width
        # All ones: what was streamed ends where its parent does, or at what cannot be in it. Tracks come before that.
        stop = end if size == (1 << 7 * width) - 1 else min(start + size, end)
        if name == wanted:
            yield start, stop
        start = stop


def _width(head: bytes) -> int:
    """Bytes of the number that begins here: one more than its leading zero bits; 9 for none."""
    return 9 - head[0].bit_length()
