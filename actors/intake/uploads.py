"""Writes the inline bytes of an attachment to storage, where every worker can read them."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from pipeline.storage import Storage, intake_key
from pipeline.values.base64_stream import decode_base64

CHUNK_BYTES = 256 * 1024


def put_intake(storage: Storage, media_id: str, *, data: str | None, file: Path | None) -> None:
    """Writes the bytes of a local file, or of base64 text, under the attachment's intake key.

    Raises:
        PayloadError: `data` is not base64.
        RetryableError: `storage`.
        OSError: the file cannot be read.
    """
    storage.put_chunks(_chunks(data, file), intake_key(media_id))


def _chunks(data: str | None, file: Path | None) -> Iterator[bytes]:
    if file is None:
        yield from decode_base64(data or "")
        return
    with file.open("rb") as source:
        while chunk := source.read(CHUNK_BYTES):
            yield chunk
