"""By what an attachment could have its bytes: whoever shows the same may have what was fetched by it."""

from __future__ import annotations

import hashlib
import json

from pipeline.models.attachment import Attachment
from pipeline.values.gateway_values import decode_bytes

MARK_DIGITS = 32


def source_mark(attachment: Attachment) -> str | None:
    """32 hex digits of a hash over the declared hash and what opens the source; None where that is not known.

    That is the media key, whatever path leads to the ciphertext: a message that is forwarded keeps it. Without a key it
    is the place itself with its signature, for this gateway's credentials.
    """
    if attachment.file_sha256 is None or attachment.data:
        return None
    if attachment.media_key:
        key = decode_bytes(attachment.media_key)
        return _digest("key", key.hex(), attachment.file_sha256) if key else None
    place = attachment.direct_path or attachment.url
    if attachment.remote_id or not place:
        return None
    return _digest(attachment.gateway, attachment.direct_path, attachment.url, attachment.file_sha256)


def _digest(*parts: str | None) -> str:
    return hashlib.sha256(json.dumps(parts).encode()).hexdigest()[:MARK_DIGITS]
