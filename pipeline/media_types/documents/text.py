"""Checks of plain text, CSV and RTF. Runs in the sandbox."""

from __future__ import annotations

from typing import Any

from pipeline.media_types.documents.file_chunks import CONTROL, UTF16_MARKS, chunks
from pipeline.media_types.limits import parse_limits
from pipeline.media_types.rejections import check_active
from pipeline.sandbox import Reason, Refusal

RTF_TAIL_BYTES = 64  # kept between two chunks, so that a control word on their border is found


def inspect_text(file: int, **_: Any) -> dict[str, Any]:
    """Checks that the file is text: UTF-16 with a byte order mark, or 8-bit text without control characters. No facts.

    Raises:
        PermanentError: `broken`.
    """
    pieces = chunks(file)
    chunk = next(pieces, b"")
    if chunk.startswith(UTF16_MARKS):
        return {}
    while chunk:
        if len(chunk.translate(None, CONTROL)) != len(chunk):
            raise Refusal(Reason.NOT_TEXT)
        chunk = next(pieces, b"")
    return {}


def inspect_rtf(file: int, *, limits: str, **_: Any) -> dict[str, Any]:
    r"""The flag "objects" of an RTF document with embedded objects (`\objdata`). Its last group must be closed.

    Raises:
        PermanentError: `active_content`, `broken`.
    """
    tail = b""
    objects = False
    for chunk in chunks(file):
        objects = objects or b"\\objdata" in tail + chunk
        tail = (tail + chunk)[-RTF_TAIL_BYTES:]
    if not tail.rstrip(b"\0\r\n\t ").endswith(b"}"):
        raise Refusal(Reason.RTF_CUT)
    flags = ("objects",) if objects else ()
    check_active(flags, refuse=parse_limits(limits).refuse_active)
    return {"flags": list(flags)}
