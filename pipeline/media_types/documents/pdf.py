"""Check of PDF documents with PDFium. Runs in the sandbox."""

from __future__ import annotations

import ctypes
import mmap
import os
from typing import Any

import pypdfium2
from pypdfium2 import PdfiumError, raw

from pipeline.media_types.limits import Limits, parse_limits
from pipeline.media_types.rejections import check_active, decoding
from pipeline.sandbox import Reason, Refusal

# A larger file is read through callbacks into Python, which take longer: its mapping would count as memory of the call.
MAX_MAPPED_BYTES = 64_000_000
# ctypes takes executable memory for callbacks when the first one is made, which a confined child cannot do any more.
# Kept, so that this memory is there for those of every document.
_FIRST_CALLBACK = ctypes.CFUNCTYPE(None)(lambda: None)
PASSWORD_ERRORS = frozenset({raw.FPDF_ERR_PASSWORD, raw.FPDF_ERR_SECURITY})


def inspect(file: int, *, limits: str, **_: Any) -> dict[str, Any]:
    """Number of pages, and the flags "encrypted" and "javascript".

    Only the page tree is read: no page is rendered and no content stream is unpacked. A PDF that is encrypted but opens
    without a password is flagged too. One that needs a password has no page count.

    Raises:
        PermanentError: `too_many_pages`, `active_content`, `broken`.
    """
    caps = parse_limits(limits)
    with decoding("a PDF document", PdfiumError):
        try:
            document = open_document(file)
        except PdfiumError as error:
            if error.err_code not in PASSWORD_ERRORS:
                raise
            check_active(("encrypted",), refuse=caps.refuse_active)
            return {"flags": ["encrypted"]}
        with document:
            pages = _count_pages(document, caps)
            flags = _flags(document)
    check_active(flags, refuse=caps.refuse_active)
    return {"pages": pages, "flags": list(flags)}


def open_document(file: int) -> pypdfium2.PdfDocument:
    """The document in an open file. PDFium could open a path itself, but a child of the sandbox has none."""
    size = os.fstat(file).st_size
    if not 0 < size <= MAX_MAPPED_BYTES:
        return pypdfium2.PdfDocument(open(file, "rb", closefd=False), autoclose=True)
    mapped = mmap.mmap(file, size, access=mmap.ACCESS_COPY)  # ctypes takes a writable buffer alone; nothing is written
    return pypdfium2.PdfDocument((ctypes.c_char * size).from_buffer(mapped))


def _count_pages(document: pypdfium2.PdfDocument, caps: Limits) -> int:
    pages = len(document)
    if pages > caps.pages:
        raise Refusal(Reason.TOO_MANY_PAGES, pages=pages, allowed=caps.pages)
    if pages < 1:
        raise Refusal(Reason.NO_PAGES)
    document.get_page_size(0)
    return pages


def _flags(document: pypdfium2.PdfDocument) -> tuple[str, ...]:
    encrypted = raw.FPDF_GetSecurityHandlerRevision(document.raw) >= 0
    scripts = raw.FPDFDoc_GetJavaScriptActionCount(document.raw) > 0
    return (*(["encrypted"] if encrypted else []), *(["javascript"] if scripts else []))
