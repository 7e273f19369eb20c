"""Preview of a PDF document: its first page on a white background."""

from __future__ import annotations

from contextlib import suppress
from typing import Any

from pypdfium2 import PdfiumError

from pipeline.media_types.documents.pdf import PASSWORD_ERRORS, open_document
from pipeline.media_types.previews.thumbnail import EDGE, as_webp, shrink
from pipeline.media_types.rejections import decoding
from pipeline.sandbox import Reason, Refusal

RENDER_EDGE = 2 * EDGE  # pixels; rendered at the final size, small print would be illegible
MAX_SCALE = 4.0  # pixels a point; a page of a few points is not enlarged further


def render(file: int, **_: Any) -> dict[str, Any]:
    """The first page with filled-in form fields; nothing for a document that needs a password.

    Raises:
        PermanentError: `broken`.
    """
    with decoding("a PDF document", PdfiumError, ValueError):
        try:
            document = open_document(file)
        except PdfiumError as error:
            if error.err_code not in PASSWORD_ERRORS:
                raise
            return {}
        with document:
            with suppress(PdfiumError):  # the page is rendered without a form that is damaged
                document.init_forms()
            page = document[0]
            bitmap = page.render(scale=_scale(*page.get_size()))
            return as_webp(shrink(bitmap.to_pil().convert("RGB")))


def _scale(width: float, height: float) -> float:
    """Pixels for each point. Bounded, because a page may declare a width of 14 million points."""
    if not (width > 0 and height > 0):
        raise Refusal(Reason.PAGE_WITHOUT_SIZE)
    return min(MAX_SCALE, RENDER_EDGE / max(width, height))
