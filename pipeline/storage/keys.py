"""The keys of storage. No part of a key comes from a sender."""

from __future__ import annotations

import os
import re
from typing import Literal

from pipeline.errors import Code, PermanentError

FilePath = str | os.PathLike[str]
CHUNK_BYTES = 256 * 1024
INTAKE = "intake"
Method = Literal["GET", "HEAD"]  # the requests that a signed URL can allow
_KEY = re.compile(r"(?:[A-Za-z0-9_-][A-Za-z0-9._-]*/)*[A-Za-z0-9_-][A-Za-z0-9._-]*")
_INTAKE_KEY = re.compile(INTAKE + r"/([0-9a-f]{32})")
_MAX_LENGTH = 512


def content_key(sha256: str) -> str:
    """The key of the content with this hash (64 hex digits): `ab/abcdef…`."""
    return f"{sha256[:2]}/{sha256}"


def thumbnail_key(sha256: str) -> str:
    """The key of the thumbnail of the content with this hash, next to the content."""
    return f"{content_key(sha256)}.thumb.webp"


def intake_key(media_id: str) -> str:
    """The key of the inline bytes of an attachment until it is fetched."""
    return f"{INTAKE}/{media_id}"


def intake_id(key: str) -> str | None:
    """The id of the attachment with this intake key; None for any other key."""
    match = _INTAKE_KEY.fullmatch(key)
    return match[1] if match else None


def checked_key(key: str) -> str:
    """Returns the key if it is valid: names separated by slashes, none of which begins with a dot.

    Raises:
        PermanentError: `storage`, if it is invalid.
    """
    if not is_key(key):
        raise PermanentError(Code.STORAGE, "this is not a storage key")
    return key


def is_key(text: str) -> bool:
    """Whether the text is a valid storage key."""
    return len(text) <= _MAX_LENGTH and _KEY.fullmatch(text) is not None
