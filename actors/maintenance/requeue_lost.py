"""The sweep: accepted attachments that the belt has lost go back onto it.

Redis may be wiped at any time, or throw away a part of what it keeps. The catalogue knows what was accepted and has not
ended; what the belt still holds is not put on it a second time, for its key is taken.
"""

from __future__ import annotations

from collections.abc import Callable

import structlog

from actors.delivery import encode_message, stage_message
from actors.observability import metrics_store
from actors.redis_queue.queue import RedisQueue, shared_queue
from actors.redis_queue.scheduling import scheduling_of_record
from pipeline.catalogue import Catalogue
from pipeline.metrics import REQUEUED
from pipeline.models import Record, Stage, Status
from pipeline.services import services

BATCH = 1000

log = structlog.get_logger()


def requeue_lost(
    catalogue: Catalogue, belt: RedisQueue, *, older_than_s: float, going_on: Callable[[], object] | None = None
) -> int:
    """Puts unfinished attachments that nobody works on back onto the belt; how many it had lost.

    `going_on` is called after each thousand that it has looked at.

    Raises:
        RetryableError: `catalogue`.
        redis.RedisError: the belt is out of reach.
    """
    if (dropped := belt.audit()) > 0:
        log.error("the belt was not whole", dropped=dropped, remedy="let Redis evict nothing; see `esteira doctor`")
    lost, after = 0, None
    while page := catalogue.unfinished(older_than_s=older_than_s, limit=BATCH, after=after):
        # Nearly all of a backlog is where it belongs: only what is not is read whole.
        for media_id in belt.find_missing(page):
            record = catalogue.get(media_id)
            if record and record.finished_at is None:
                lost += _put_back(belt, record)
        after = page[-1]
        if going_on:
            going_on()
    if lost:
        REQUEUED.add(n=lost)
        log.warning("swept", messages=lost)
    return lost


def _put_back(belt: RedisQueue, record: Record) -> bool:
    message = stage_message(record.id, _stage_of(record))
    return belt.enqueue(record.id, message.queue_name, encode_message(message), scheduling=scheduling_of_record(record))


def _stage_of(record: Record) -> Stage:
    # Where it would be sent on to anyway. What waits to be announced must not wait for a fetch that is paused.
    return Stage.FETCH if record.status is Status.RECEIVED else Stage.NOTIFY


def sweep(*, older_than_s: float | None = None) -> int:
    """One sweep now; how many attachments went back onto the belt."""
    tools = services()
    age = tools.settings.sweep_after_s if older_than_s is None else older_than_s
    lost = requeue_lost(tools.catalogue, shared_queue(), older_than_s=age)
    metrics_store.flush(shared_queue())  # whoever asked for it may end now
    return lost
