"""A fingerprint of an attachment's source: attachments with the same one may share the fetched content."""

from __future__ import annotations

import hashlib
import json

from pipeline.models.attachment import Attachment
from pipeline.values.gateway_values import decode_bytes

MARK_DIGITS = 32


def source_mark(attachment: Attachment) -> str | None:
    """32 hex digits of a hash over the declared hash and the secret that gives access to the source, or None.

    The secret is the media key, whatever the path of the ciphertext: a forwarded message keeps the key. Without a key
    it is the signed location, combined with the gateway whose credentials fetch it.
    """
    if attachment.file_sha256 is None or attachment.data:
        return None
    if attachment.media_key:
        key = decode_bytes(attachment.media_key)
        return _digest("key", key.hex(), attachment.file_sha256) if key else None
    if attachment.remote_id or not (attachment.direct_path or attachment.url):
        return None
    return _digest(attachment.gateway, attachment.direct_path, attachment.url, attachment.file_sha256)


def _digest(*parts: str | None) -> str:
    return hashlib.sha256(json.dumps(parts).encode()).hexdigest()[:MARK_DIGITS]
