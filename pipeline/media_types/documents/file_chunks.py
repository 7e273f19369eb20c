"""Reads an open file of unknown size in pieces, so that no check holds all of it in memory. Runs in the sandbox."""

from __future__ import annotations

import codecs
import os
from collections.abc import Iterator

from pipeline.sandbox import Reason, Refusal

CHUNK_BYTES = 1 << 20
# Control characters that no 8-bit text has. The rest is left to the formats: many programs still write Windows-1252.
CONTROL = bytes(byte for byte in range(32) if byte not in b"\t\n\v\f\r\x1a\x1b")
UTF8_MARK = codecs.BOM_UTF8
UTF16_MARKS = (codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)


def chunks(file: int) -> Iterator[bytes]:
    """The bytes of a file, a megabyte at a time."""
    position = 0
    while chunk := os.pread(file, CHUNK_BYTES, position):
        position += len(chunk)
        yield chunk


def text_chunks(file: int) -> Iterator[bytes]:
    """The text of a file without its byte order mark; UTF-16 as UTF-8, other encodings as they are.

    Raises:
        PermanentError: `broken`: it has control characters, or is damaged UTF-16.
    """
    for chunk in _decoded(file):
        if len(chunk.translate(None, CONTROL)) != len(chunk):
            raise Refusal(Reason.NOT_TEXT)
        yield chunk


def _decoded(file: int) -> Iterator[bytes]:
    pieces = chunks(file)
    first = next(pieces, b"")
    if not first.startswith(UTF16_MARKS):
        yield first.removeprefix(UTF8_MARK)
        yield from pieces
        return
    decoder = codecs.getincrementaldecoder("utf-16")()
    try:
        yield decoder.decode(first).encode()
        for piece in pieces:
            yield decoder.decode(piece).encode()
        yield decoder.decode(b"", final=True).encode()
    except UnicodeError as error:
        raise Refusal(Reason.NOT_TEXT) from error


def lines(file: int, *, longest: int) -> Iterator[bytes]:
    """The lines of a text without their ends, which may be CR, LF or both.

    Raises:
        PermanentError: `broken`: it is no text, or has a line of more than `longest` bytes.
    """
    rest = b""
    for chunk in text_chunks(file):
        whole = (rest + chunk).splitlines(keepends=True)
        # A CR may be the first half of a line end.
        rest = whole.pop() if whole and not whole[-1].endswith(b"\n") else b""
        if len(rest) > longest:
            raise Refusal(Reason.LONG_LINE, allowed=longest)
        for line in whole:
            if len(line) > longest:
                raise Refusal(Reason.LONG_LINE, allowed=longest)
            yield line.rstrip(b"\r\n")
    if rest:
        yield rest.rstrip(b"\r\n")
