"""The requeue scan: enqueues accepted attachments that Redis has lost.

Redis may be wiped at any time, or evict a part of its data. The catalogue knows which attachments are accepted and
unfinished. An attachment that is still in the queue is not enqueued again, because its key is taken.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

import structlog

from actors.intake.enqueue import request_of
from actors.redis_queue.messages import EnqueueRequest
from actors.redis_queue.queue import RedisQueue
from pipeline.catalogue import Catalogue
from pipeline.metrics import REQUEUED

PAGE = 1000
ENQUEUED_AT_ONCE = 100  # in one call of Redis, which it blocks for a millisecond
SCAN_LOCK = "scan"  # held by the process that scans, the periodic scan and the one after a return of Redis
SCAN_LOCK_MS = 5000  # longer than a page takes; a scan that was killed delays the next one by this

log = structlog.get_logger()


def requeue_lost(
    catalogue: Catalogue,
    queue: RedisQueue,
    *,
    older_than_s: float,
    after_page: Callable[[], object] | None = None,
    page_size: int | None = None,
) -> int:
    """The requeue scan: enqueues unfinished attachments without a claim that are not in the queue; returns how many.

    `after_page` is called after each page, of PAGE attachments unless `page_size` says otherwise.

    Raises:
        RetryableError: `catalogue`.
        redis.RedisError: Redis is away.
    """
    if (dropped := queue.audit()) > 0:
        log.error("queue audit dropped inconsistent entries", dropped=dropped, remedy="set maxmemory-policy noeviction")
    requeued, after = 0, None
    while page := catalogue.unfinished(older_than_s=older_than_s, limit=page_size or PAGE, after=after):
        for ids in _parts(queue.find_missing(page)):
            requeued += queue.enqueue_many(_requests(catalogue, ids))
        after = page[-1]
        if after_page:
            after_page()
    if requeued:
        REQUEUED.add(n=requeued)
        log.warning("lost attachments requeued", messages=requeued)
    return requeued


def _parts(ids: Sequence[str]) -> Iterator[Sequence[str]]:
    return (ids[start : start + ENQUEUED_AT_ONCE] for start in range(0, len(ids), ENQUEUED_AT_ONCE))


def _requests(catalogue: Catalogue, ids: Sequence[str]) -> list[EnqueueRequest]:
    """The messages of those that are still unfinished. Most of a backlog is in the queue, so few rows are read."""
    records = filter(None, map(catalogue.get, ids))
    return [request_of(record) for record in records if record.finished_at is None]
