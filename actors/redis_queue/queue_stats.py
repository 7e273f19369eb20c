"""The figures of `esteira stats` and of `GET /stats`."""

from __future__ import annotations

from typing import Any

from actors.redis_queue.queue import shared_queue
from pipeline.services import services


def stats() -> dict[str, Any]:
    """Queues and sessions from Redis; totals since the catalogue began, durations, the last minute from the catalogue.

    The last of the queues is `derive`, for which no attachment waits and which counts in no session.
    `sessions` are the 100 with the most ready, the most first; one that has nothing ready and nothing running is in
    none. `oldest_unfinished_s` is how long ago the oldest arrived that has not ended, replays aside; 0 if all have.
    `totals` count events: an attachment that failed, was replayed and got done counts once in each. `pauses` are
    what is paused, since when in Unix ms.

    Raises:
        redis.RedisError, RetryableError: one of the two is out of reach.
    """
    catalogue, belt = services().catalogue, shared_queue()
    return {
        "queues": belt.counts() | belt.aside.counts(),
        "sessions": belt.sessions(),
        "totals": catalogue.totals(),
        "duration_ms": catalogue.durations(),
        "per_minute": catalogue.per_minute(),
        "oldest_unfinished_s": round(catalogue.oldest_s(), 3),
        "pauses": [pause._asdict() for pause in catalogue.pauses.all()],
    }
