"""A file read as if parts of it were left out or added, without a copy. Runs in the sandbox."""

from __future__ import annotations

import io
import os
from bisect import bisect_right
from collections.abc import Iterable
from itertools import accumulate
from typing import NamedTuple

BUFFER_BYTES = 65536


class Span(NamedTuple):
    """Bytes of the file that are kept: where they begin, and how many."""

    start: int
    size: int


class _Spliced(io.RawIOBase):
    """Reads spans of an open file and literal bytes one behind the other."""

    def __init__(self, file: int, parts: Iterable[Span | bytes]) -> None:
        self._file = file
        self._parts = [part for part in parts if _size(part)]
        self._ends = list(accumulate(map(_size, self._parts)))
        self._at = 0

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def seek(self, offset: int, whence: int = os.SEEK_SET) -> int:
        size = self._ends[-1] if self._ends else 0
        self._at = max(0, offset + {os.SEEK_SET: 0, os.SEEK_CUR: self._at, os.SEEK_END: size}[whence])
        return self._at

    def tell(self) -> int:
        return self._at

    def readinto(self, buffer: bytearray | memoryview) -> int:  # type: ignore[override]
        number = bisect_right(self._ends, self._at)
        if number == len(self._parts):
            return 0
        part = self._parts[number]
        skipped = self._at - (self._ends[number] - _size(part))
        wanted = min(len(buffer), _size(part) - skipped)
        chunk = (
            part[skipped : skipped + wanted]
            if isinstance(part, bytes)
            else os.pread(self._file, wanted, part.start + skipped)
        )
        buffer[: len(chunk)] = chunk
        self._at += len(chunk)
        return len(chunk)


def _size(part: Span | bytes) -> int:
    return part.size if isinstance(part, Span) else len(part)


def spliced(file: int, parts: Iterable[Span | bytes]) -> io.BufferedReader:
    """A seekable stream of these parts, in their order. It does not close the file."""
    return io.BufferedReader(_Spliced(file, parts), BUFFER_BYTES)
