"""Conditional requests and byte ranges of a content (RFC 9110). Of ranges, only a single one is supported."""

from __future__ import annotations

import re
from typing import NamedTuple

from starlette.datastructures import Headers
from starlette.exceptions import HTTPException

_SINGLE = re.compile(r"bytes=[ \t]*(\d{0,100})-(\d{0,100})[ \t]*", re.ASCII | re.IGNORECASE)


class ByteRange(NamedTuple):
    """The bytes from `start` to before `stop`."""

    start: int
    stop: int


def is_unchanged(headers: Headers, etag: str) -> bool:
    """Whether If-None-Match says that the caller already has this content."""
    etags = [tag.strip().removeprefix("W/") for tag in headers.get("if-none-match", "").split(",")]
    return "*" in etags or etag in etags


def requested_range(headers: Headers, *, size: int, etag: str) -> ByteRange | None:
    """The requested range; None for the whole content: no range, several ranges, or If-Range names another content.

    Raises:
        HTTPException: 416, if the range begins after the end of the content.
    """
    match = _SINGLE.fullmatch(headers.get("range", ""))
    if not match or headers.get("if-range", etag).strip() != etag:
        return None
    first, last = match.groups()
    if not first and not last:
        return None
    if first and last and int(first) > int(last):
        return None
    start = int(first) if first else max(0, size - int(last))
    stop = min(size, int(last) + 1) if first and last else size
    if start >= size:
        raise HTTPException(416, f"the content has {size} bytes", {"Content-Range": f"bytes */{size}"})
    return ByteRange(start, stop)
