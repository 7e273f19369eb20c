"""Checks of plain text, CSV and RTF. Runs in the sandbox."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from pipeline.media_types.limits import parse_limits
from pipeline.media_types.rejections import broken, check_active

CHUNK_BYTES = 1 << 20
RTF_TAIL_BYTES = 64  # kept between two chunks, so that a control word on their border is found
UTF16_MARKS = (b"\xff\xfe", b"\xfe\xff")
# Control characters that no 8-bit text has. UTF-8 is not required: spreadsheets still write CSV as Windows-1252.
CONTROL = bytes(byte for byte in range(32) if byte not in b"\t\n\v\f\r\x1a\x1b")


def inspect_text(path: str, **_: Any) -> dict[str, Any]:
    """Checks that the file is text: UTF-16 with a byte order mark, or 8-bit text without control characters. No facts.

    Raises:
        PermanentError: `broken`.
    """
    chunks = _chunks(path)
    chunk = next(chunks, b"")
    if chunk.startswith(UTF16_MARKS):
        return {}
    while chunk:
        if len(chunk.translate(None, CONTROL)) != len(chunk):
            raise broken("holds bytes that are not text")
        chunk = next(chunks, b"")
    return {}


def inspect_rtf(path: str, *, limits: str, **_: Any) -> dict[str, Any]:
    r"""The flag "objects" of an RTF document with embedded objects (`\objdata`). Its last group must be closed.

    Raises:
        PermanentError: `active_content`, `broken`.
    """
    tail = b""
    objects = False
    for chunk in _chunks(path):
        objects = objects or b"\\objdata" in tail + chunk
        tail = (tail + chunk)[-RTF_TAIL_BYTES:]
    if not tail.rstrip(b"\0\r\n\t ").endswith(b"}"):
        raise broken("ends before its last group is closed")
    flags = ("objects",) if objects else ()
    check_active(flags, refuse=parse_limits(limits).refuse_active)
    return {"flags": list(flags)}


def _chunks(path: str) -> Iterator[bytes]:
    with Path(path).open("rb") as file:
        while chunk := file.read(CHUNK_BYTES):
            yield chunk
