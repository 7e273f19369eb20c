"""Check of PDF documents with PDFium. Runs in the sandbox."""

from __future__ import annotations

from typing import Any

import pypdfium2
from pypdfium2 import PdfiumError, raw

from pipeline.errors import Code, PermanentError
from pipeline.media_types.limits import Limits, parse_limits
from pipeline.media_types.rejections import broken, check_active, decoding

PASSWORD_ERRORS = frozenset({raw.FPDF_ERR_PASSWORD, raw.FPDF_ERR_SECURITY})


def inspect(path: str, *, limits: str, **_: Any) -> dict[str, Any]:
    """Number of pages, and the flags "encrypted" and "javascript".

    Only the page tree is read: no page is rendered and no content stream is unpacked. A PDF that is encrypted but opens
    without a password is flagged too. One that needs a password has no page count.

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
            pages = _count_pages(document, caps)
            flags = _flags(document)
    check_active(flags, refuse=caps.refuse_active)
    return {"pages": pages, "flags": list(flags)}


def _count_pages(document: pypdfium2.PdfDocument, caps: Limits) -> int:
    pages = len(document)
    if pages > caps.pages:
        raise PermanentError(Code.TOO_MANY_PAGES, f"has {pages} pages; at most {caps.pages} are allowed")
    if pages < 1:
        raise broken("has no pages")
    document.get_page_size(0)
    return pages


def _flags(document: pypdfium2.PdfDocument) -> tuple[str, ...]:
    encrypted = raw.FPDF_GetSecurityHandlerRevision(document.raw) >= 0
    scripts = raw.FPDFDoc_GetJavaScriptActionCount(document.raw) > 0
    return (*(["encrypted"] if encrypted else []), *(["javascript"] if scripts else []))
