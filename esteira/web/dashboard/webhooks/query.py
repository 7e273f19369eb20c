"""The query of the page Webhooks, as it is in the page's address, and what it finds."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple
from urllib.parse import urlencode

from actors.webhooks.admin import newest_deliveries
from esteira.web.api.records import decode_cursor, encode_position
from pipeline.catalogue import (
    Action,
    AuditFilters,
    AuditRecord,
    DeliveryFilters,
    DeliveryRecord,
    DeliveryStatus,
    EndpointStats,
)
from pipeline.errors import PayloadError
from pipeline.services import services

PATH = "/dashboard/webhooks"
PAGE_SIZE = 50
AUDIT_ENTRIES = 5
UNFINISHED = (DeliveryStatus.UNDELIVERED, DeliveryStatus.PENDING)


class Found(NamedTuple):
    """What the page shows. `older` is the address of the next page of deliveries."""

    endpoints: Sequence[EndpointStats]
    deliveries: Sequence[DeliveryRecord]
    older: str | None
    redeliveries: Sequence[AuditRecord]


@dataclass(frozen=True)
class DeliveryQuery:
    """The filters and the position in the address. Without a status: deliveries that are pending or given up."""

    endpoint: str = ""
    status: str = ""
    after: str = ""

    @classmethod
    def of(cls, query: Mapping[str, str]) -> DeliveryQuery:
        return cls(query.get("endpoint", "").strip(), query.get("status", "").strip(), query.get("after", ""))

    @property
    def is_filtered(self) -> bool:
        return bool(self.endpoint or self.status)

    def path(self, after: str = "") -> str:
        """The address of these deliveries, from the top or after a cursor."""
        return listing(endpoint=self.endpoint, status=self.status, after=after)

    def load(self, *, with_audit: bool) -> Found:
        """Reads endpoints and deliveries, and the newest redeliveries of the audit log if they are to be shown.

        Raises:
            PayloadError: a filter or the cursor is invalid.
            RetryableError: `catalogue`.
        """
        if self.status and self.status not in set(DeliveryStatus):
            raise PayloadError("status", f"must be one of {', '.join(DeliveryStatus)}")
        statuses = (DeliveryStatus(self.status),) if self.status else UNFINISHED
        after = decode_cursor(self.after) if self.after else None
        catalogue, filters = services().catalogue, DeliveryFilters(endpoint=self.endpoint or None)
        found = newest_deliveries(catalogue.deliveries, filters, statuses=statuses, limit=PAGE_SIZE + 1, after=after)
        page = found[:PAGE_SIZE]
        older = self.path(encode_position(page[-1].created_at, page[-1].id)) if len(found) > PAGE_SIZE else None
        stats = catalogue.deliveries.endpoint_stats(services().webhooks.endpoints)
        redeliveries = AuditFilters(action=Action.REDELIVER)
        entries = catalogue.audit.find(redeliveries, limit=AUDIT_ENTRIES) if with_audit else []
        return Found(stats, page, older, entries)


def listing(**filters: str) -> str:
    """The path of the page with these filters."""
    wanted = {name: value for name, value in filters.items() if value}
    return f"{PATH}?{urlencode(wanted)}" if wanted else PATH
