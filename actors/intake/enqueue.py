"""Enqueues the message for a stage of an attachment."""

from __future__ import annotations

from actors.delivery import encode_message, stage_message
from actors.redis_queue.messages import EnqueueRequest
from actors.redis_queue.queue import RedisQueue
from actors.redis_queue.scheduling import SchedulingInfo, scheduling_of_record
from pipeline.models import Record, Stage, Status


def enqueue_stage(
    queue: RedisQueue, media_id: str, stage: Stage, scheduling: SchedulingInfo, *, delay_ms: int = 0
) -> bool:
    """Enqueues one stage of an attachment; False if the attachment is in the queue already.

    Raises:
        redis.RedisError: Redis is away.
    """
    message = stage_message(media_id, stage)
    data = encode_message(message)
    return queue.enqueue(media_id, message.queue_name, data, scheduling=scheduling, delay_ms=delay_ms)


def enqueue_record(queue: RedisQueue, record: Record, stage: Stage, *, delay_ms: int = 0) -> bool:
    """As `enqueue_stage`, with the scheduling of an attachment in the catalogue."""
    return enqueue_stage(queue, record.id, stage, scheduling_of_record(record), delay_ms=delay_ms)


def request_of(record: Record) -> EnqueueRequest:
    """The message for an unfinished attachment that is not in the queue."""
    message = stage_message(record.id, stage_to_enqueue(record))
    return EnqueueRequest(record.id, message.queue_name, encode_message(message), scheduling_of_record(record))


def stage_to_enqueue(record: Record) -> Stage:
    """The stage for an unfinished attachment that is not in the queue."""
    # A stored attachment must not wait for a paused fetch.
    return Stage.FETCH if record.status is Status.RECEIVED else Stage.NOTIFY
