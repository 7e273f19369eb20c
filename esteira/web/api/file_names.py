"""File names for downloads, and the Content-Disposition header that carries them."""

from __future__ import annotations

from urllib.parse import quote

from pipeline.media_types import MEDIA_TYPES
from pipeline.models import Record

MAX_NAME = 150  # characters, without the extension
# Browsers run nothing in images, sounds and videos. A document may contain scripts, so it is saved instead of shown.
INLINE = ("image/", "audio/", "video/")
NEVER_INLINE = ("image/svg+xml",)


def download_name(record: Record) -> str:
    """The sender's name for the file, or its name in storage. The extension always fits the content."""
    name = (record.filename or record.name or record.id).translate({ord(char): "_" for char in '/\\:"<>|?*%'})
    stem, dot, extension = name.rpartition(".")
    extensions = {record.ext} | {ext for row in MEDIA_TYPES.values() if row.ext == record.ext for ext in row.exts}
    if dot and stem and extension.lower() in extensions:
        return f"{stem[:MAX_NAME]}.{extension}"
    return f"{name[:MAX_NAME]}.{record.ext}" if record.ext else name[:MAX_NAME]


def is_inline(mime: str) -> bool:
    """Whether a browser may show this type instead of saving it."""
    return mime.startswith(INLINE) and mime not in NEVER_INLINE


def content_disposition(name: str, *, inline: bool) -> str:
    """The header of RFC 6266: the name in ASCII, and in UTF-8 (RFC 8187) where that differs."""
    plain = "".join(char if " " <= char <= "~" and char not in '"\\' else "_" for char in name)
    extended = f"; filename*=UTF-8''{quote(name, safe='', errors='replace')}" if plain != name else ""
    return f'{"inline" if inline else "attachment"}; filename="{plain}"{extended}'
