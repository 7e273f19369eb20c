"""Enqueues the message for a stage of an attachment."""

from __future__ import annotations

from actors.delivery import encode_message, stage_message
from actors.redis_queue.queue import RedisQueue
from actors.redis_queue.scheduling import SchedulingInfo, scheduling_of_record
from pipeline.models import Record, Stage


def enqueue_stage(queue: RedisQueue, media_id: str, stage: Stage, scheduling: SchedulingInfo) -> bool:
    """Enqueues one stage of an attachment; False if the attachment is in the queue already.

    Raises:
        redis.RedisError: Redis is away.
    """
    message = stage_message(media_id, stage)
    return queue.enqueue(media_id, message.queue_name, encode_message(message), scheduling=scheduling)


def enqueue_record(queue: RedisQueue, record: Record, stage: Stage) -> bool:
    """As `enqueue_stage`, with the scheduling of an attachment in the catalogue."""
    return enqueue_stage(queue, record.id, stage, scheduling_of_record(record))
