"""Chunks of a PNG that its pixels need. Runs in the sandbox. Layout: PNG (Third Edition) 5 and 11.

Viewers leave out an ancillary chunk that they cannot use: one with a wrong checksum, or with a profile or a text that
unpacks to more than they take. Pillow refuses the whole picture.
"""

from __future__ import annotations

import io
import os
import struct
import zlib
from typing import NamedTuple

from pipeline.media_types.pictures.spliced import Span, spliced

SIGNATURE_BYTES = 8
FRAME_BYTES = 12  # length, name and checksum of each chunk
# Pixels. Pillow checks their chunks itself.
PIXELS = frozenset({b"IHDR", b"PLTE", b"IDAT", b"fdAT", b"IEND"})
USED = frozenset({b"tRNS", b"eXIf", b"iCCP", b"acTL", b"fcTL"})  # changes how the pixels are shown
ANIMATION = frozenset({b"acTL", b"fcTL", b"fdAT"})
MAX_USED_BYTES = 1 << 20  # a larger chunk of USED is left out
MAX_PROFILE_BYTES = 1 << 20  # unpacked: a larger profile is left out, because Pillow refuses it


class _Chunk(NamedTuple):
    name: bytes
    start: int  # of its frame in the file
    size: int  # with its frame


def pixel_chunks(file: int) -> io.BufferedReader:
    """The PNG without the chunks that its pixels do not need, and without damaged ones of those that it can lack.

    An animation whose control chunks are damaged becomes the picture that other programs show. The chunks are
    skipped, not read, so that their size costs nothing.
    """
    chunks = list(_chunks(file))
    damaged = {chunk for chunk in chunks if chunk.name in USED and not _is_usable(file, chunk)}
    dropped = ANIMATION if any(chunk.name in ANIMATION for chunk in damaged) else frozenset()
    kept = [chunk for chunk in chunks if chunk not in damaged and chunk.name not in dropped]
    return spliced(file, [Span(0, SIGNATURE_BYTES), *(Span(chunk.start, chunk.size) for chunk in kept)])


def _chunks(file: int) -> list[_Chunk]:
    """The chunks of PIXELS and USED up to the end of the picture or of the file."""
    chunks: list[_Chunk] = []
    at = SIGNATURE_BYTES
    while len(head := os.pread(file, 8, at)) == 8:
        length, name = struct.unpack(">I4s", head)
        if name in PIXELS or name in USED:
            chunks.append(_Chunk(name, at, length + FRAME_BYTES))
        if name == b"IEND":
            break
        at += length + FRAME_BYTES
    return chunks


def _is_usable(file: int, chunk: _Chunk) -> bool:
    if chunk.size > MAX_USED_BYTES:
        return False
    content = os.pread(file, chunk.size, chunk.start)
    if len(content) < chunk.size or zlib.crc32(content[4:-4]) != int.from_bytes(content[-4:], "big"):
        return False
    return chunk.name != b"iCCP" or _is_small_profile(content[8:-4])


def _is_small_profile(content: bytes) -> bool:
    """Whether a profile can be unpacked and stays small. Its name, a NUL and the method 0 precede it."""
    _, _, packed = content.partition(b"\0")
    unpacker = zlib.decompressobj()
    try:
        unpacker.decompress(packed[1:], MAX_PROFILE_BYTES)
    except zlib.error:
        return False
    return packed[:1] == b"\0" and not unpacker.unconsumed_tail
