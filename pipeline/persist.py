"""Persist: the content into storage under its hash, the facts into the catalogue."""

from __future__ import annotations

from pathlib import Path

from pipeline.catalogue import Catalogue
from pipeline.errors import StagingLostError
from pipeline.meters import DEDUPLICATED_BYTES, STORED_BYTES
from pipeline.models import Claim, Record, Stored, Validated
from pipeline.storage import Storage, content_key


def persist(claim: Claim, validated: Validated, *, path: Path, storage: Storage, catalogue: Catalogue) -> Record:
    """Stores the staged file at `path` once for its content, however many attachments carry it, and notes it.

    Raises:
        StagingLostError: the staged file is gone, or is not what was validated.
        SupersededError: somebody else has taken the attachment over; the content stays, for it has its own name.
        RetryableError: `storage` or `catalogue`.
    """
    fetched = validated.detected.fetched
    if not path.is_file() or path.stat().st_size != fetched.size:
        raise StagingLostError(path.name)
    key = content_key(fetched.sha256)
    written = storage.put_file(path, key)
    name = stored_name(claim.record.received_at, fetched.sha256, validated.detected.ext)
    record = catalogue.stored(claim, Stored(validated=validated, storage_key=key, name=name))
    STORED_BYTES.add(n=fetched.size)
    if not written:
        DEDUPLICATED_BYTES.add(n=fetched.size)
    return record


def stored_name(received_at: int, sha256: str, ext: str) -> str:
    """`1640995200_abc123.jpeg`: the Unix second of its arrival (given in ms), 6 digits of its hash, its extension."""
    return f"{received_at // 1000}_{sha256[:6]}.{ext}"
