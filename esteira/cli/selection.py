"""Attachments of the catalogue by filters: newest first for reading, all of them for a replay."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

from pipeline.catalogue import Catalogue, Filters
from pipeline.models import Record, Status

PAGE = 1000


def each_status(statuses: Sequence[str], filters: dict[str, Any]) -> list[Filters]:
    """One filter for every status asked for; one without a status if none was."""
    return [Filters(**filters, status=Status(one) if one else None) for one in statuses or (None,)]


def newest(catalogue: Catalogue, chosen: Sequence[Filters], *, limit: int) -> list[Record]:
    """The newest `limit` attachments that fit any of the filters."""
    found = [record for filters in chosen for record in catalogue.find(filters, limit=limit)]
    return sorted(found, key=lambda record: (record.received_at, record.id), reverse=True)[:limit]


def all_ids(catalogue: Catalogue, chosen: Sequence[Filters]) -> list[str]:
    """The ids of all attachments that fit any of the filters, oldest first."""
    found = [(one.received_at, one.id) for filters in chosen for page in pages(catalogue, filters) for one in page]
    return [media_id for _, media_id in sorted(found)]


def pages(catalogue: Catalogue, filters: Filters) -> Iterator[list[Record]]:
    """All attachments that fit the filters, newest first, a thousand at a time."""
    page = catalogue.find(filters, limit=PAGE)
    while page:
        yield page
        page = catalogue.find(filters, limit=PAGE, after=page[-1].id) if len(page) == PAGE else []
