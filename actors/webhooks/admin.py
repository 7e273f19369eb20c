"""The outbox as its operator sees it: how it stands with each endpoint, what was given up, and what goes once more."""

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
BATCH = 200
SLACK = 1.2  # the waits have jitter, and an attempt takes its time

log = structlog.get_logger()


def given_up_after_s(settings: Settings) -> float:
    """How long an event is tried: all waits of the schedule together."""
    return SLACK * sum(settings.webhook_retry_s)


def maintain_deliveries(tools: Services) -> int:
    """Gives up what the schedule is over for, mends times of wrong clocks, forgets what is done; how many it gave up.

    Raises:
        RetryableError: `catalogue`.
    """
    deliveries, settings = tools.catalogue.deliveries, tools.settings
    deliveries.fix_due_times(lease_s=lease_s(settings))
    deliveries.trim(older_than_s=settings.webhook_keep_days * DAY_S)
    given_up = 0
    for standing in deliveries.endpoint_stats():
        if reason := _reason(tools, standing):
            n = deliveries.give_up(standing.endpoint, older_than_s=given_up_after_s(settings), why=reason)
            if n:
                WEBHOOK_ATTEMPTS.add(standing.endpoint, "undelivered", n=n)
                log.error("webhooks given up", endpoint=standing.endpoint, count=n, error=reason)
            given_up += n
    return given_up


def _reason(tools: Services, standing: EndpointStats) -> str | None:
    """Why what waits there longest need not wait any more; None if it may still be delivered."""
    if standing.endpoint not in tools.webhooks.endpoints:
        return f"there is no endpoint {standing.endpoint} in the settings any more"
    # Only while a probe has just failed: workers that have been away for days shall try before anything is given up.
    circuit = standing.circuit
    if circuit.open and circuit.wait_ms(int(time.time() * 1000)):
        return f"given up while the endpoint was away: {circuit.error}"
    return None


def endpoints_json(tools: Services) -> list[dict[str, Any]]:
    """Each endpoint as JSON, those of the settings first, and those that only have deliveries left.

    Times are Unix milliseconds. Of the URL only the origin is told, of the secrets nothing.

    Raises:
        RetryableError: `catalogue`.
    """
    known = tools.webhooks.endpoints
    return [_told(known.get(one.endpoint), one) for one in tools.catalogue.deliveries.endpoint_stats(known)]


def _told(endpoint: Endpoint | None, standing: EndpointStats) -> dict[str, Any]:
    circuit = standing.circuit
    return {
        "name": standing.endpoint,
        "configured": endpoint is not None,
        "origin": endpoint.origin if endpoint else None,
        "types": sorted(endpoint.settings.types) if endpoint else [],
        "sessions": list(endpoint.settings.sessions) if endpoint else [],
        "pending": standing.pending,
        "undelivered": standing.undelivered,
        "oldest_pending_s": round(standing.oldest_s, 1),
        "circuit": {"state": "open" if circuit.open else "closed", **circuit._asdict()},
    }


def newest_deliveries(
    deliveries: Deliveries, filters: DeliveryFilters, *, statuses: Sequence[DeliveryStatus], limit: int
) -> list[DeliveryRecord]:
    """At most `limit` deliveries of these statuses, the newest first."""
    each = [filters.model_copy(update={"status": status}) for status in statuses]
    found = [one for narrowed in each for one in deliveries.find(narrowed, limit=limit)]
    return sorted(found, key=lambda one: (one.created_at, one.id), reverse=True)[:limit]


def redeliverable_ids(tools: Services, filters: DeliveryFilters, *, limit: int | None = None) -> list[str]:
    """The ids of what fits and can be redelivered: given up, or waiting for its turn; the oldest first.

    Without a status in the filters it is what was given up.
    """
    deliveries, after = tools.catalogue.deliveries, None
    wanted = filters.model_copy(update={"status": filters.status or DeliveryStatus.UNDELIVERED})
    ids: list[str] = []
    while page := deliveries.find(wanted, limit=BATCH, after=after):
        ids += [one.id for one in page if one.endpoint in tools.webhooks.endpoints]
        after = (page[-1].created_at, page[-1].id)
    return ids[::-1][:limit]


def redeliver(tools: Services, ids: Sequence[str]) -> list[str]:
    """Has these delivered at once, by the workers; returns those that cannot be.

    Unknown ones, what is delivered or being tried just now, what belongs to a deleted attachment, and what is for an
    endpoint that is not in the settings any more.

    Raises:
        RetryableError: `catalogue`; those before it go.
    """
    known = tools.webhooks.endpoints
    gone: set[str] = set()
    for batch in (ids[start : start + BATCH] for start in range(0, len(ids), BATCH)):
        found = (tools.catalogue.deliveries.get(one) for one in batch)
        gone |= set(tools.catalogue.deliveries.redeliver([one.id for one in found if one and one.endpoint in known]))
    if gone:
        log.info("webhooks redelivered", count=len(gone))
    return [one for one in ids if one not in gone]
