"""Persist: the content into storage under its hash, the facts into the catalogue."""

from __future__ import annotations

import time
from contextlib import suppress
from pathlib import Path

from pipeline.catalogue import Catalogue
from pipeline.errors import CancelledError, RetryableError, StagingLostError
from pipeline.meters import DEDUPLICATED_BYTES, STORED_BYTES
from pipeline.models import Claim, Record, Stored, Validated
from pipeline.storage import Storage, content_key

# A deletion removes the content within half a minute of its note, or leaves it to a later one; clocks differ a little.
DELETION_WITHIN_MS = 60_000
CLOCKS_DIFFER_MS = 60_000
PAUSE_S = 0.1
WITHDRAWN_WITHIN_S = 5.0


def persist(claim: Claim, validated: Validated, *, path: Path, storage: Storage, catalogue: Catalogue) -> Record:
    """Stores the staged file at `path` once for its content, however many attachments carry it, and notes it.

    Raises:
        StagingLostError: the staged file is gone, or is not what was validated.
        CancelledError: somebody has cancelled it; its content has gone again, unless others have it.
        SupersededError: somebody else has taken the attachment over; the content stays, for it has its own name.
        RetryableError: `storage` or `catalogue`.
    """
    fetched = validated.detected.fetched
    if not path.is_file() or path.stat().st_size != fetched.size:
        raise StagingLostError(path.name)
    key = content_key(fetched.sha256)
    began = catalogue.now()
    written = storage.put_file(path, key)
    name = stored_name(claim.record.received_at, fetched.sha256, validated.detected.ext)
    try:
        record = catalogue.stored(claim, Stored(validated=validated, storage_key=key, name=name))
    except CancelledError:
        if written:
            _withdraw(claim, fetched.sha256, storage=storage, catalogue=catalogue)
        raise
    if _was_deleted(catalogue, fetched.sha256, since=began - DELETION_WITHIN_MS - CLOCKS_DIFFER_MS):
        storage.put_file(path, key)
    STORED_BYTES.add(n=fetched.size)
    if not written:
        DEDUPLICATED_BYTES.add(n=fetched.size)
    return record


def _withdraw(claim: Claim, sha256: str, *, storage: Storage, catalogue: Catalogue) -> None:
    """Removes content that was just stored, in the steps of a deletion: others may be storing the same now."""
    began = time.monotonic()
    key = content_key(sha256)
    with suppress(RetryableError):  # it stays, under its own name, and the cancelling is not held up for that
        noted = catalogue.cancellations.withdraw(claim, sha256=sha256, key=key)
        # Later than that, somebody may have stopped waiting for it.
        if not catalogue.is_held(sha256) and time.monotonic() - began < WITHDRAWN_WITHIN_S:
            storage.delete(key)
        catalogue.content_gone(noted)


def _was_deleted(catalogue: Catalogue, sha256: str, *, since: int) -> bool:
    """Whether another attachment with this content was deleted, once that has come to its end.

    Whoever deletes looks for others with the content after having noted the deletion. From now on it finds this one.
    """
    while found := catalogue.deletions(sha256, since=since):
        now = catalogue.now()
        if not any(undone and now - deleted_at < DELETION_WITHIN_MS for deleted_at, undone in found):
            return True
        time.sleep(PAUSE_S)
    return False


def stored_name(received_at: int, sha256: str, ext: str) -> str:
    """`1640995200_abc123.jpeg`: the Unix second of its arrival (given in ms), 6 digits of its hash, its extension."""
    return f"{received_at // 1000}_{sha256[:6]}.{ext}"
