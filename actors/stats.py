"""The figures of `esteira stats` and of `GET /stats`."""

from __future__ import annotations

from typing import Any

from actors.belt import shared_belt
from pipeline.services import services


def stats() -> dict[str, Any]:
    """Queues from Redis; totals since the catalogue began, durations and the last minute from the catalogue.

    `totals` count events: an attachment that failed, was replayed and got done counts once in each.

    Raises:
        redis.RedisError, RetryableError: one of the two is out of reach.
    """
    catalogue = services().catalogue
    return {
        "queues": shared_belt().counts(),
        "totals": catalogue.totals(),
        "duration_ms": catalogue.durations(),
        "per_minute": catalogue.per_minute(),
    }
