"""The keys of storage. Nothing that a sender chose ever becomes part of one."""

from __future__ import annotations

import os
import re
from typing import Literal

from pipeline.errors import Code, PermanentError

FilePath = str | os.PathLike[str]
CHUNK_BYTES = 256 * 1024
INTAKE = "intake"
Method = Literal["GET", "HEAD"]  # what a signed URL may be made for
_KEY = re.compile(r"(?:[A-Za-z0-9_-][A-Za-z0-9._-]*/)*[A-Za-z0-9_-][A-Za-z0-9._-]*")
_INTAKE_KEY = re.compile(INTAKE + r"/([0-9a-f]{32})")
_MAX_LENGTH = 512


def content_key(sha256: str) -> str:
    """Where content with this hash (64 hex digits) stands: `ab/abcdef…`."""
    return f"{sha256[:2]}/{sha256}"


def thumbnail_key(sha256: str) -> str:
    """Where the thumbnail of the content with this hash stands, beside it."""
    return f"{content_key(sha256)}.thumb.webp"


def intake_key(media_id: str) -> str:
    """Where the inline bytes of an attachment wait for their fetch."""
    return f"{INTAKE}/{media_id}"


def intake_id(key: str) -> str | None:
    """The attachment whose intake key this is; None if it is another key."""
    found = _INTAKE_KEY.fullmatch(key)
    return found[1] if found else None


def checked_key(key: str) -> str:
    """The key, if it is one: plain words between slashes, none of them hidden, none of them a way up.

    Raises:
        PermanentError: `storage`, for anything else.
    """
    if not is_key(key):
        raise PermanentError(Code.STORAGE, "this is no key of storage")
    return key


def is_key(text: str) -> bool:
    """Whether content may stand under this."""
    return len(text) <= _MAX_LENGTH and _KEY.fullmatch(text) is not None
