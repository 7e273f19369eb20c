"""Waits until attachments are finished, by polling the catalogue."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from itertools import islice

from pipeline.catalogue import Catalogue
from pipeline.models import Record, Status

WINDOW = 100  # attachments per poll: they finish roughly in the order of their arrival, so the oldest are enough
POLL_S = 0.2
# An attachment that did not succeed has ended before its event is delivered, which workers may retry for a day while
# no endpoint answers. After this many seconds the result is reported without waiting for the event.
EVENT_WAIT_S = 5.0
UNSUCCESSFUL = frozenset({Status.REJECTED, Status.FAILED, Status.EXPIRED})


def wait_for_results(catalogue: Catalogue, ids: Sequence[str], *, timeout_s: float | None = None) -> Iterator[Record]:
    """Yields each attachment when it has its result; leaves out those that have none by the timeout.

    An attachment that is yielded needs no more work, except perhaps the delivery of the event of an unsuccessful one.
    """
    pending = dict.fromkeys(ids)
    deadline = time.monotonic() + timeout_s if timeout_s is not None else float("inf")
    while pending:
        records = [record for record in _oldest(catalogue, pending) if _has_result(record)]
        for record in records:
            del pending[record.id]
            yield record
        if time.monotonic() > deadline:
            return
        if not records:
            time.sleep(POLL_S)


def _has_result(record: Record) -> bool:
    if record.finished_at is not None:
        return True
    ended_at = record.ended_at if record.status in UNSUCCESSFUL else None
    return ended_at is not None and time.time() - ended_at / 1000 > EVENT_WAIT_S


def _oldest(catalogue: Catalogue, pending: dict[str, None]) -> list[Record]:
    return [record for media_id in islice(pending, WINDOW) if (record := catalogue.get(media_id))]
