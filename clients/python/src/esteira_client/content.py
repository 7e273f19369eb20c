"""What the server says about a content that it sends."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from urllib.parse import unquote

_EXTENDED_NAME = re.compile(r"filename\*=UTF-8''([^;]+)", re.IGNORECASE)
_NAME = re.compile(r'filename="((?:[^"\\]|\\.)*)"', re.IGNORECASE)


@dataclass(frozen=True)
class ContentInfo:
    """The detected type, the size in bytes and the name under which a browser would save it; None if not known.

    A content that an object store sends has no name and no detected type: see `media()`.
    """

    mime: str | None
    size: int | None
    name: str | None


def content_info(headers: Mapping[str, str]) -> ContentInfo:
    """The description of a content in the headers of its answer."""
    size, disposition = headers.get("content-length", ""), headers.get("content-disposition", "")
    return ContentInfo(headers.get("content-type"), int(size) if size.isdecimal() else None, _name(disposition))


def _name(disposition: str) -> str | None:
    if match := _EXTENDED_NAME.search(disposition):
        return unquote(match[1])
    match = _NAME.search(disposition)
    return re.sub(r"\\(.)", r"\1", match[1]) if match else None
