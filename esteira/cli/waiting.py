"""Waits in the catalogue for attachments to end."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from itertools import islice

from pipeline.catalogue import Catalogue
from pipeline.models import Record, Status

WINDOW = 100  # they end about in the order in which they came, so only the oldest are asked for
PAUSE_S = 0.2
# Who waits for an ending does not wait for its announcement for a day, as the workers do while nobody takes it.
ANNOUNCED_WITHIN_S = 5.0
BAD = frozenset({Status.REJECTED, Status.FAILED, Status.EXPIRED})


def endings(catalogue: Catalogue, ids: Sequence[str], *, timeout_s: float | None = None) -> Iterator[Record]:
    """Each attachment as it ends; those that have not by the timeout are left out.

    Nothing is left to do for it then, but for the announcement of a bad ending that cannot be delivered.
    """
    pending = dict.fromkeys(ids)
    deadline = time.monotonic() + timeout_s if timeout_s is not None else float("inf")
    while pending:
        ended = [record for record in _window(catalogue, pending) if _has_ended(record)]
        for record in ended:
            del pending[record.id]
            yield record
        if time.monotonic() > deadline:
            return
        if not ended:
            time.sleep(PAUSE_S)


def _has_ended(record: Record) -> bool:
    if record.finished_at is not None:
        return True
    since = record.ended_at if record.status in BAD else None
    return since is not None and time.time() - since / 1000 > ANNOUNCED_WITHIN_S


def _window(catalogue: Catalogue, pending: dict[str, None]) -> list[Record]:
    return [record for media_id in islice(pending, WINDOW) if (record := catalogue.get(media_id))]
