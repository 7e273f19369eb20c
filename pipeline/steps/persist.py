"""Persist: the content into storage under its hash, the facts into the catalogue."""

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

# A deletion removes the content within half a minute of its note, or leaves it to a later one; clocks differ a little.
DELETION_WITHIN_MS = 60_000
CLOCKS_DIFFER_MS = 60_000
PAUSE_S = 0.1
WITHDRAWN_WITHIN_S = 5.0

Work = tuple[Claim, Validated]


@dataclass(slots=True)
class _Item:
    """An attachment on its way through the steps below; whatever has a result is through."""

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
    """Stores the staged files at `paths` as `persist` does one: what comes of each, or its error, in their order."""
    items = [
        _Item(claim, _stored(claim, validated), path) for (claim, validated), path in zip(work, paths, strict=True)
    ]
    began = catalogue.now()
    _put(items, storage)
    _note([item for item in items if item.result is None], catalogue)
    for item in items:
        if item.is_new and isinstance(item.result, CancelledError):
            _withdraw(item.claim, item.sha256, storage=storage, catalogue=catalogue)
    noted = [item for item in items if isinstance(item.result, Record)]
    _put_again(noted, storage, catalogue, since=began - DELETION_WITHIN_MS - CLOCKS_DIFFER_MS)
    return [_metered(item) for item in items]


def _stored(claim: Claim, validated: Validated) -> Stored:
    detected = validated.detected
    sha256 = detected.fetched.sha256
    name = stored_name(claim.record.received_at, sha256, detected.ext)
    return Stored.model_construct(validated=validated, storage_key=content_key(sha256), name=name)


def _put(items: list[_Item], storage: Storage) -> None:
    """Puts the files into storage, and notes whose content is new there."""
    for item in items:
        if _size(item.path) != item.size:
            item.result = StagingLostError(os.path.basename(item.path))
    whole = [item for item in items if item.result is None]
    results = storage.put_files([(item.path, item.stored.storage_key) for item in whole])
    for item, result in zip(whole, results, strict=True):
        if isinstance(result, PipelineError):
            item.result = result
        else:
            item.is_new = result


def _note(items: list[_Item], catalogue: Catalogue) -> None:
    results = catalogue.mark_stored_many([(item.claim, item.stored) for item in items])
    for item, result in zip(items, results, strict=True):
        item.result = result


def _put_again(items: list[_Item], storage: Storage, catalogue: Catalogue, *, since: int) -> None:
    """Puts the content back that a deletion has taken away meanwhile."""
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
    """The contents of which another attachment was deleted, once that has come to its end.

    Whoever deletes looks for others with the content after having noted the deletion. From now on it finds this one.
    """
    deleted: set[str] = set()
    while found := catalogue.deletions.find(hashes - deleted, since=since):
        under_way = catalogue.now() - DELETION_WITHIN_MS
        deleted |= {one for one, said in found.items() if not any(undone and at > under_way for at, undone in said)}
        if deleted.issuperset(found):
            break
        time.sleep(PAUSE_S)
    return deleted


def _metered(item: _Item) -> Record | PipelineError:
    assert item.result is not None
    if isinstance(item.result, Record):
        STORED_BYTES.add(n=item.size)
        if not item.is_new:
            DEDUPLICATED_BYTES.add(n=item.size)
    return item.result


def _withdraw(claim: Claim, sha256: str, *, storage: Storage, catalogue: Catalogue) -> None:
    """Removes content that was just stored, in the steps of a deletion: others may be storing the same now."""
    began = time.monotonic()
    key = content_key(sha256)
    with suppress(RetryableError):  # it stays, under its own name, and the cancelling is not held up for that
        noted = catalogue.cancellations.withdraw(claim, sha256=sha256, key=key)
        # Later than that, somebody may have stopped waiting for it.
        if not catalogue.deletions.is_content_in_use(sha256) and time.monotonic() - began < WITHDRAWN_WITHIN_S:
            storage.delete(key)
        catalogue.deletions.finish(noted)


def _size(path: FilePath) -> int | None:
    try:
        return os.stat(path).st_size
    except OSError:
        return None


def stored_name(received_at: int, sha256: str, ext: str) -> str:
    """`1640995200_abc123.jpeg`: the Unix second of its arrival (given in ms), 6 digits of its hash, its extension."""
    return f"{received_at // 1000}_{sha256[:6]}.{ext}"
