"""The preview of a PDF document: its first page, on white."""

from __future__ import annotations

from contextlib import suppress
from typing import Any

import pypdfium2
from pypdfium2 import PdfiumError

from pipeline.media_types.pdf import PASSWORD_ERRORS
from pipeline.media_types.previews.thumbnail import EDGE, as_webp, fit
from pipeline.media_types.rejections import broken, decoding

DRAWN = 2 * EDGE  # drawn larger and averaged, small print looks like print
MOST_SCALE = 4.0  # a page of a few points is not blown up


def render(path: str, **_: Any) -> dict[str, Any]:
    """The first page with what is filled in; nothing if it needs a password.

    Raises:
        PermanentError: `broken`.
    """
    with decoding("a PDF document", PdfiumError, ValueError):
        try:
            document = pypdfium2.PdfDocument(path)
        except PdfiumError as error:
            if error.err_code not in PASSWORD_ERRORS:
                raise
            return {}
        with document:
            with suppress(PdfiumError):  # a form that is broken is shown as if it were none
                document.init_forms()
            page = document[0]
            bitmap = page.render(scale=_scale(*page.get_size()))
            return as_webp(fit(bitmap.to_pil().convert("RGB")))


def _scale(width: float, height: float) -> float:
    """Pixels for each point. A page may say that it is 14 million points wide."""
    if not (width > 0 and height > 0):
        raise broken("has a first page without any size")
    return min(MOST_SCALE, DRAWN / max(width, height))
