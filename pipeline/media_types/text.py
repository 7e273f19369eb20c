"""Checks of plain text, CSV and RTF, by hand. Runs in the sandbox."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from pipeline.media_types.limits import parse_limits
from pipeline.media_types.rejections import broken, check_active

PIECE = 1 << 20
UTF16_MARKS = (b"\xff\xfe", b"\xfe\xff")
# Text in any 8-bit encoding has no other control characters: spreadsheets still write CSV as Windows-1252.
CONTROL = bytes(byte for byte in range(32) if byte not in b"\t\n\v\f\r\x1a\x1b")


def inspect_text(path: str, **_: Any) -> dict[str, Any]:
    """Nothing but that it is text throughout: UTF-16 with its mark, or 8-bit text without control characters.

    Raises:
        PermanentError: `broken`.
    """
    pieces = _pieces(path)
    first = next(pieces, b"")
    if first.startswith(UTF16_MARKS):
        return {}
    while first:
        if len(first.translate(None, CONTROL)) != len(first):
            raise broken("holds bytes that are no text")
        first = next(pieces, b"")
    return {}


def inspect_rtf(path: str, *, limits: str, **_: Any) -> dict[str, Any]:
    r"""The flag "objects" of an RTF document that embeds some (`\objdata`), after its frame is seen to be whole.

    Raises:
        PermanentError: `active_content`, `broken`.
    """
    kept = b""
    objects = False
    for piece in _pieces(path):
        objects = objects or b"\\objdata" in kept + piece
        kept = (kept + piece)[-64:]
    if not kept.rstrip(b"\0\r\n\t ").endswith(b"}"):
        raise broken("ends before its last group is closed")
    flags = ("objects",) if objects else ()
    check_active(flags, refuse=parse_limits(limits).refuse_active)
    return {"flags": list(flags)}


def _pieces(path: str) -> Iterator[bytes]:
    with Path(path).open("rb") as file:
        while piece := file.read(PIECE):
            yield piece
