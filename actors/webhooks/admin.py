"""Administration of webhook deliveries: the state of each endpoint, giving up, and redelivery."""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import Any

import structlog

from actors.webhooks.dispatcher import lease_s
from pipeline.catalogue import Deliveries, DeliveryFilters, DeliveryRecord, DeliveryStatus, EndpointStats
from pipeline.config.settings import Settings
from pipeline.metrics import WEBHOOK_ATTEMPTS
from pipeline.notifiers.webhooks import Endpoint
from pipeline.services import Services

DAY_S = 86_400.0
PAGE = 200
SLACK = 1.2  # the delays have jitter, and attempts take time

log = structlog.get_logger()


def maintain_deliveries(services: Services) -> int:
    """Gives up overdue deliveries, corrects due times of wrong clocks, and removes old ones; returns the given up.

    Raises:
        RetryableError: `catalogue`.
    """
    deliveries, settings = services.catalogue.deliveries, services.settings
    deliveries.fix_due_times(lease_s=lease_s(settings))
    deliveries.trim(older_than_s=settings.webhook_keep_days * DAY_S)
    given_up = 0
    for stats in deliveries.endpoint_stats():
        if reason := _give_up_reason(services, stats):
            count = deliveries.give_up(stats.endpoint, older_than_s=_give_up_after_s(settings), why=reason)
            if count:
                WEBHOOK_ATTEMPTS.add(stats.endpoint, "undelivered", n=count)
                log.error("webhooks given up", endpoint=stats.endpoint, count=count, error=reason)
            given_up += count
    return given_up


def endpoints_json(services: Services) -> list[dict[str, Any]]:
    """Each endpoint as JSON: those of the settings first, then removed ones that still have deliveries.

    Times are Unix milliseconds. Of the URL only the origin is shown, and no secret.

    Raises:
        RetryableError: `catalogue`.
    """
    known = services.webhooks.endpoints
    return [_endpoint_json(known.get(row.endpoint), row) for row in services.catalogue.deliveries.endpoint_stats(known)]


def newest_deliveries(
    deliveries: Deliveries,
    filters: DeliveryFilters,
    *,
    statuses: Sequence[DeliveryStatus],
    limit: int,
    after: tuple[int, str] | None = None,
) -> list[DeliveryRecord]:
    """At most `limit` deliveries of these statuses, the newest first, after the position (created_at, id)."""
    by_status = [filters.model_copy(update={"status": status}) for status in statuses]
    records = [record for narrowed in by_status for record in deliveries.find(narrowed, limit=limit, after=after)]
    return sorted(records, key=lambda record: (record.created_at, record.id), reverse=True)[:limit]


def redeliverable_ids(services: Services, filters: DeliveryFilters, *, limit: int | None = None) -> list[str]:
    """The ids of matching deliveries that can be redelivered: given up or pending ones, the oldest first.

    Without a status in the filters, only those that were given up.
    """
    deliveries, after = services.catalogue.deliveries, None
    matching = filters.model_copy(update={"status": filters.status or DeliveryStatus.UNDELIVERED})
    ids: list[str] = []
    while page := deliveries.find(matching, limit=PAGE, after=after):
        ids += [record.id for record in page if record.endpoint in services.webhooks.endpoints]
        after = (page[-1].created_at, page[-1].id)
    return ids[::-1][:limit]


def redeliver(services: Services, ids: Sequence[str]) -> list[str]:
    """Has the workers deliver these at once; returns the ids that cannot be redelivered.

    These are unknown, delivered, in progress, of a deleted attachment, or for an endpoint that is no longer in the
    settings.

    Raises:
        RetryableError: `catalogue`; the deliveries before the error are redelivered.
    """
    known, deliveries = services.webhooks.endpoints, services.catalogue.deliveries
    redelivered: set[str] = set()
    for batch in (ids[start : start + PAGE] for start in range(0, len(ids), PAGE)):
        records = (deliveries.get(delivery_id) for delivery_id in batch)
        redelivered |= set(
            deliveries.redeliver([record.id for record in records if record and record.endpoint in known])
        )
    if redelivered:
        log.info("webhooks redelivered", count=len(redelivered))
    return [delivery_id for delivery_id in ids if delivery_id not in redelivered]


def _give_up_after_s(settings: Settings) -> float:
    """How long an event is tried: the sum of all delays of the schedule."""
    return SLACK * sum(settings.webhook_retry_s)


def _give_up_reason(services: Services, stats: EndpointStats) -> str | None:
    """Why overdue deliveries of an endpoint are given up; None if they may still be delivered."""
    if stats.endpoint not in services.webhooks.endpoints:
        return f"endpoint {stats.endpoint} is no longer in the settings"
    # Only right after a failed probe: workers that were stopped for days try once more before anything is given up.
    circuit = stats.circuit
    if circuit.open and circuit.wait_ms(int(time.time() * 1000)):
        return f"given up while the endpoint was unreachable: {circuit.error}"
    return None


def _endpoint_json(endpoint: Endpoint | None, stats: EndpointStats) -> dict[str, Any]:
    circuit = stats.circuit
    return {
        "name": stats.endpoint,
        "configured": endpoint is not None,
        "origin": endpoint.origin if endpoint else None,
        "types": sorted(endpoint.settings.types) if endpoint else [],
        "sessions": list(endpoint.settings.sessions) if endpoint else [],
        "pending": stats.pending,
        "undelivered": stats.undelivered,
        "oldest_pending_s": round(stats.oldest_s, 1),
        "circuit": {"state": "open" if circuit.open else "closed", **circuit._asdict()},
    }
