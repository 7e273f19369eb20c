"""Selects attachments from the catalogue by the filters of a command."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

from pipeline.catalogue import Catalogue, Filters
from pipeline.models import Record, Status

PAGE = 1000  # records per query


def filters_by_status(statuses: Sequence[str], filters: dict[str, Any]) -> list[Filters]:
    """The filters once for each status, or once without a status if there is none."""
    return [Filters(**filters, status=Status(status) if status else None) for status in statuses or (None,)]


def newest(catalogue: Catalogue, selections: Sequence[Filters], *, limit: int) -> list[Record]:
    """The newest `limit` attachments that match any of the filters."""
    records = [record for filters in selections for record in catalogue.find(filters, limit=limit)]
    return sorted(records, key=lambda record: (record.received_at, record.id), reverse=True)[:limit]


def all_ids(catalogue: Catalogue, selections: Sequence[Filters]) -> list[str]:
    """The IDs of all attachments that match any of the filters, oldest first."""
    matches = [
        (record.received_at, record.id)
        for filters in selections
        for page in pages(catalogue, filters)
        for record in page
    ]
    return [media_id for _, media_id in sorted(matches)]


def pages(catalogue: Catalogue, filters: Filters) -> Iterator[list[Record]]:
    """All attachments that match the filters, newest first, in pages of a thousand."""
    page = catalogue.find(filters, limit=PAGE)
    while page:
        yield page
        page = catalogue.find(filters, limit=PAGE, after=page[-1].id) if len(page) == PAGE else []
