"""Waits in the catalogue for attachments to end."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from itertools import islice

from pipeline.catalogue import Catalogue
from pipeline.models import Record

WINDOW = 100  # they end about in the order in which they came, so only the oldest are asked for
PAUSE_S = 0.2


def endings(catalogue: Catalogue, ids: Sequence[str], *, timeout_s: float | None = None) -> Iterator[Record]:
    """Each attachment as it ends, with nothing left to do for it; those that have not by the timeout are left out."""
    pending = dict.fromkeys(ids)
    deadline = time.monotonic() + timeout_s if timeout_s is not None else float("inf")
    while pending:
        ended = [record for record in _window(catalogue, pending) if record.finished_at is not None]
        for record in ended:
            del pending[record.id]
            yield record
        if time.monotonic() > deadline:
            return
        if not ended:
            time.sleep(PAUSE_S)


def _window(catalogue: Catalogue, pending: dict[str, None]) -> list[Record]:
    return [record for media_id in islice(pending, WINDOW) if (record := catalogue.get(media_id))]
