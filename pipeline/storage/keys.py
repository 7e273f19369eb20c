"""The keys of storage. Nothing that a sender chose ever becomes part of one."""

from __future__ import annotations

import re

from pipeline.errors import Code, PermanentError

CHUNK_BYTES = 256 * 1024
_KEY = re.compile(r"(?:[A-Za-z0-9_-][A-Za-z0-9._-]*/)*[A-Za-z0-9_-][A-Za-z0-9._-]*")
_MAX_LENGTH = 512


def content_key(sha256: str) -> str:
    """Where content with this hash (64 hex digits) stands: `ab/abcdef…`."""
    return f"{sha256[:2]}/{sha256}"


def intake_key(media_id: str) -> str:
    """Where the inline bytes of an attachment wait for their fetch."""
    return f"intake/{media_id}"


def checked_key(key: str) -> str:
    """The key, if it is one: plain words between slashes, none of them hidden, none of them a way up.

    Raises:
        PermanentError: `storage`, for anything else.
    """
    if len(key) > _MAX_LENGTH or not _KEY.fullmatch(key):
        raise PermanentError(Code.STORAGE, "this is no key of storage")
    return key
