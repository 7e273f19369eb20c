"""The data of `esteira stats` and of `GET /stats`."""

from __future__ import annotations

from typing import Any

from actors.redis_queue.queue import shared_queue
from pipeline.intake_spool import open_spool
from pipeline.services import services


def stats() -> dict[str, Any]:
    """Queues and sessions from Redis; totals, durations and the last minute from the catalogue.

    `queues` ends with `derive`, the queue of previews, which counts in no session. `sessions` are the 100 sessions with
    the most ready messages, the most first; a session without ready or running messages is left out.
    `oldest_unfinished_s` is the age of the oldest unfinished attachment, replays not counted; 0 if there is none.
    `intake_spool` is that of the machine that answers; None if it is off. `totals` count events since the catalogue was
    created: an attachment that failed and is done after a replay counts in both. `pauses` has the time of each pause in
    Unix ms.

    Raises:
        redis.RedisError: Redis is unreachable.
        RetryableError: the catalogue is unreachable.
    """
    catalogue, queue = services().catalogue, shared_queue()
    return {
        "queues": queue.stats.counts() | queue.preview_queue.stats.counts(),
        "sessions": queue.stats.sessions(),
        "totals": catalogue.totals(),
        "duration_ms": catalogue.statistics.durations(),
        "per_minute": catalogue.statistics.per_minute(),
        "oldest_unfinished_s": round(catalogue.statistics.oldest_unfinished_s(), 3),
        "intake_spool": _spool_figures(),
        "pauses": [pause._asdict() for pause in catalogue.pauses.all()],
    }


def _spool_figures() -> dict[str, Any] | None:
    spool = open_spool(services().settings)
    if spool is None:
        return None
    status = spool.status()
    return status._asdict() | {"oldest_s": round(status.oldest_s, 3)}
