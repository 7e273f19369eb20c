"""Frames of a GIF that are whole. Runs in the sandbox. Layout: GIF89a specification, 18 to 26."""

from __future__ import annotations

import os

HEAD_BYTES = 13  # signature and logical screen descriptor
HAS_PALETTE = 0x80


def frames_before_cut(file: int) -> int | None:
    """How many frames precede the end of the file, if it ends within a further one; None if it does not."""
    flags = os.pread(file, HEAD_BYTES, 0)[10:11]
    at = HEAD_BYTES + _palette_bytes(flags)
    size = os.fstat(file).st_size
    frames = 0
    while True:
        match os.pread(file, 1, at):
            case b"\x2c":
                at = _skip_blocks(file, at + 11 + _palette_bytes(os.pread(file, 1, at + 9)))
                if at > size:
                    return frames
                frames += 1
            case b"\x21":
                at = _skip_blocks(file, at + 2)
            case _:
                return None


def _palette_bytes(flags: bytes) -> int:
    return 3 << ((flags[0] & 7) + 1) if flags and flags[0] & HAS_PALETTE else 0


def _skip_blocks(file: int, at: int) -> int:
    """Position behind a series of data blocks and its terminator; behind the file if it has no terminator."""
    while True:
        length = os.pread(file, 1, at)
        at += 1 + (length[0] if length else 1)
        if length in {b"\0", b""}:
            return at
