"""A fingerprint of an attachment's source: attachments with the same one may share the fetched content."""

from __future__ import annotations

import hashlib
import hmac
import json

from pipeline.models.attachment import Attachment
from pipeline.values.gateway_values import decode_bytes

MARK_DIGITS = 32


def source_mark(attachment: Attachment, *, key: bytes | None = None) -> str | None:
    """32 hex digits of a digest over the declared hash and the secret that gives access to the source, or None.

    The secret is the media key, whatever the path of the ciphertext: a forwarded message keeps the key. Without a key
    it is the signed location, combined with the gateway whose credentials fetch it. With `key` the digest is an HMAC,
    so that a reader of the database cannot test guesses of a URL.
    """
    if attachment.file_sha256 is None or attachment.data:
        return None
    if attachment.media_key:
        secret = decode_bytes(attachment.media_key)
        return _digest(key, "key", secret.hex(), attachment.file_sha256) if secret else None
    if attachment.remote_id or not (attachment.direct_path or attachment.url):
        return None
    return _digest(key, attachment.gateway, attachment.direct_path, attachment.url, attachment.file_sha256)


def _digest(key: bytes | None, *parts: str | None) -> str:
    text = json.dumps(parts).encode()
    digest = hashlib.sha256(text).digest() if key is None else hmac.digest(key, text, "sha256")
    return digest.hex()[:MARK_DIGITS]
