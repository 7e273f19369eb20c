"""Persist: stores the content under its hash, and its facts in the catalogue."""

from __future__ import annotations

import os
import time
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass

from pipeline.catalogue import Catalogue
from pipeline.errors import CancelledError, PipelineError, RetryableError, StagingLostError
from pipeline.metrics import DEDUPLICATED_BYTES, STORED_BYTES
from pipeline.models import Claim, Record, Stored, Validated
from pipeline.storage import FilePath, Storage, content_key

# A deletion removes its content within half a minute after it is recorded, or leaves that to a later one.
DELETION_WITHIN_MS = 60_000
CLOCKS_DIFFER_MS = 60_000
POLL_S = 0.1  # how often a deletion in progress is checked
WITHDRAWN_WITHIN_S = 5.0  # later, another worker may have stopped waiting for a withdrawal

Work = tuple[Claim, Validated]


@dataclass(slots=True)
class _Pending:
    """One attachment in the steps below. Once it has a `result`, the remaining steps skip it."""

    claim: Claim
    stored: Stored
    path: FilePath
    is_new: bool = False
    result: Record | PipelineError | None = None

    @property
    def size(self) -> int:
        return self.stored.validated.detected.fetched.size

    @property
    def sha256(self) -> str:
        return self.stored.validated.detected.fetched.sha256


def persist_many(
    work: Sequence[Work], *, paths: Sequence[FilePath], storage: Storage, catalogue: Catalogue
) -> list[Record | PipelineError]:
    """Stores the staged files at `paths`, each content once, and records that. Returns a record or an error for each.

    The errors:
        StagingLostError: the staged file is missing, or is not the one that was validated.
        CancelledError: it was cancelled; its content is deleted again, unless another attachment uses it.
        SupersededError: another worker has taken over the attachment; the content stays under its hash.
        RetryableError: `storage` or `catalogue`.
    """
    items = [
        _Pending(claim, _stored(claim, validated), path) for (claim, validated), path in zip(work, paths, strict=True)
    ]
    began = catalogue.now()
    _put(items, storage)
    _record([item for item in items if item.result is None], catalogue)
    for item in items:
        if item.is_new and isinstance(item.result, CancelledError):
            _withdraw(item.claim, item.sha256, storage=storage, catalogue=catalogue)
    recorded = [item for item in items if isinstance(item.result, Record)]
    _put_again(recorded, storage, catalogue, since=began - DELETION_WITHIN_MS - CLOCKS_DIFFER_MS)
    return [_counted(item) for item in items]


def _stored(claim: Claim, validated: Validated) -> Stored:
    detected = validated.detected
    sha256 = detected.fetched.sha256
    name = stored_name(claim.record.received_at, sha256, detected.ext)
    return Stored.model_construct(validated=validated, storage_key=content_key(sha256), name=name)


def _put(items: list[_Pending], storage: Storage) -> None:
    """Puts the files into storage, and marks the items whose content is new there."""
    for item in items:
        if _size(item.path) != item.size:
            item.result = StagingLostError(os.path.basename(item.path))
    complete = [item for item in items if item.result is None]
    results = storage.put_files([(item.path, item.stored.storage_key) for item in complete])
    for item, result in zip(complete, results, strict=True):
        if isinstance(result, PipelineError):
            item.result = result
        else:
            item.is_new = result


def _record(items: list[_Pending], catalogue: Catalogue) -> None:
    results = catalogue.mark_stored_many([(item.claim, item.stored) for item in items])
    for item, result in zip(items, results, strict=True):
        item.result = result


def _put_again(items: list[_Pending], storage: Storage, catalogue: Catalogue, *, since: int) -> None:
    """Puts content back that a concurrent deletion has removed."""
    try:
        deleted = _deleted(catalogue, {item.sha256 for item in items}, since=since)
    except RetryableError as error:
        for item in items:
            item.result = error
        return
    again = [item for item in items if item.sha256 in deleted]
    if not again:
        return
    results = storage.put_files([(item.path, item.stored.storage_key) for item in again])
    for item, result in zip(again, results, strict=True):
        if isinstance(result, PipelineError):
            item.result = result


def _deleted(catalogue: Catalogue, hashes: set[str], *, since: int) -> set[str]:
    """The contents of which another attachment was deleted. Waits until those deletions are finished.

    A deletion looks for other attachments with its content after it is recorded. From now on it finds this one.
    """
    deleted: set[str] = set()
    while deletions := catalogue.deletions.find(hashes - deleted, since=since):
        in_progress = catalogue.now() - DELETION_WITHIN_MS
        deleted |= {
            sha256
            for sha256, times in deletions.items()
            if not any(unfinished and at > in_progress for at, unfinished in times)
        }
        if deleted.issuperset(deletions):
            break
        time.sleep(POLL_S)
    return deleted


def _counted(item: _Pending) -> Record | PipelineError:
    """The result of an item, whose bytes are added to the metrics."""
    assert item.result is not None
    if isinstance(item.result, Record):
        STORED_BYTES.add(n=item.size)
        if not item.is_new:
            DEDUPLICATED_BYTES.add(n=item.size)
    return item.result


def _withdraw(claim: Claim, sha256: str, *, storage: Storage, catalogue: Catalogue) -> None:
    """Removes content that was just stored, as a deletion does: another worker may store the same content now."""
    began = time.monotonic()
    key = content_key(sha256)
    with suppress(RetryableError):  # the content stays under its hash; that must not delay the cancellation
        tombstone = catalogue.cancellations.withdraw(claim, sha256=sha256, key=key)
        in_use = catalogue.deletions.is_content_in_use(sha256)
        if not in_use and time.monotonic() - began < WITHDRAWN_WITHIN_S:
            storage.delete(key)
        catalogue.deletions.finish(tombstone)


def _size(path: FilePath) -> int | None:
    try:
        return os.stat(path).st_size
    except OSError:
        return None


def stored_name(received_at: int, sha256: str, ext: str) -> str:
    """`1640995200_abc123.jpeg`: the Unix second of arrival (given in ms), 6 digits of the hash, the extension."""
    return f"{received_at // 1000}_{sha256[:6]}.{ext}"
