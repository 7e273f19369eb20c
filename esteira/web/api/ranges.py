"""Conditional requests and parts of a content (RFC 9110); of ranges the single one that players ask for."""

from __future__ import annotations

import re
from typing import NamedTuple

from starlette.datastructures import Headers
from starlette.exceptions import HTTPException

_SINGLE = re.compile(r"bytes=[ \t]*(\d{0,100})-(\d{0,100})[ \t]*", re.ASCII | re.IGNORECASE)


class Part(NamedTuple):
    """From byte `start` up to before byte `stop`."""

    start: int
    stop: int


def unchanged(headers: Headers, etag: str) -> bool:
    """Whether the caller has this content already, as If-None-Match says."""
    known = [tag.strip().removeprefix("W/") for tag in headers.get("if-none-match", "").split(",")]
    return "*" in known or etag in known


def part_of(headers: Headers, *, size: int, etag: str) -> Part | None:
    """The part that is asked for; None for the whole: without a range, with several, or if the content is another.

    Raises:
        HTTPException: 416, if the content does not reach so far.
    """
    found = _SINGLE.fullmatch(headers.get("range", ""))
    if not found or headers.get("if-range", etag).strip() != etag:
        return None
    first, last = found.groups()
    if not first and not last:
        return None
    if first and last and int(first) > int(last):
        return None
    start = int(first) if first else max(0, size - int(last))
    stop = min(size, int(last) + 1) if first and last else size
    if start >= size:
        raise HTTPException(416, f"the content has {size} bytes", {"Content-Range": f"bytes */{size}"})
    return Part(start, stop)
