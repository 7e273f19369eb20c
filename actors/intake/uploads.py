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
    storage.put_chunks(intake_chunks(data, file), intake_key(media_id))


def intake_size(data: str | None, file: Path | None) -> int:
    """The size of these bytes, about right for base64; 0 if there are none, or if the file cannot be read."""
    if file is None:
        return len(data or "") * 3 // 4
    try:
        return file.stat().st_size
    except OSError:
        return 0


def intake_chunks(data: str | None, file: Path | None) -> Iterator[bytes]:
    """The bytes of a local file, or of base64 text, in chunks.

    Raises:
        PayloadError: `data` is not base64.
        OSError: the file cannot be read.
    """
    if file is None:
        yield from decode_base64(data or "")
        return
    with file.open("rb") as source:
        while chunk := source.read(CHUNK_BYTES):
            yield chunk
