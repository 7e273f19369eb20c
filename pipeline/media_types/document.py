"""PDF by PDFium; plain text, CSV and RTF by hand. Runs in the sandbox."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pypdfium2
from pypdfium2 import PdfiumError, raw

from pipeline.errors import Code, PermanentError
from pipeline.media_types.limits import Limits, parse_limits
from pipeline.media_types.verdicts import broken, check_active, decoding

PIECE = 1 << 20
PASSWORD_ERRORS = frozenset({raw.FPDF_ERR_PASSWORD, raw.FPDF_ERR_SECURITY})
UTF16_MARKS = (b"\xff\xfe", b"\xfe\xff")
# Text in any 8-bit encoding has no other control characters: spreadsheets still write CSV as Windows-1252.
CONTROL = bytes(byte for byte in range(32) if byte not in b"\t\n\v\f\r\x1a\x1b")


def inspect_pdf(path: str, *, limits: str, **_: Any) -> dict[str, Any]:
    """Pages of a PDF, and its flags "encrypted" and "javascript".

    No page is rendered and no content stream is unpacked: only the tree of pages is read. A PDF that opens with no
    password but is encrypted is flagged too; one that needs a password has no count of pages.

    Raises:
        PermanentError: `too_many_pages`, `active_content`, `broken`.
    """
    caps = parse_limits(limits)
    with decoding("a PDF document", PdfiumError):
        try:
            document = pypdfium2.PdfDocument(path)
        except PdfiumError as error:
            if error.err_code not in PASSWORD_ERRORS:
                raise
            check_active(("encrypted",), refuse=caps.refuse_active)
            return {"flags": ["encrypted"]}
        with document:
            pages = _pages(document, caps)
            flags = _pdf_flags(document)
    check_active(flags, refuse=caps.refuse_active)
    return {"pages": pages, "flags": list(flags)}


def _pages(document: pypdfium2.PdfDocument, caps: Limits) -> int:
    pages = len(document)
    if pages > caps.pages:
        raise PermanentError(Code.TOO_MANY_PAGES, f"has {pages} pages; at most {caps.pages} are allowed")
    if pages < 1:
        raise broken("has no pages")
    document.get_page_size(0)
    return pages


def _pdf_flags(document: pypdfium2.PdfDocument) -> tuple[str, ...]:
    encrypted = raw.FPDF_GetSecurityHandlerRevision(document.raw) >= 0
    scripts = raw.FPDFDoc_GetJavaScriptActionCount(document.raw) > 0
    return (*(["encrypted"] if encrypted else []), *(["javascript"] if scripts else []))


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
