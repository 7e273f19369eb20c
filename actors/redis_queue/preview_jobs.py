"""Messages of the preview queue: one for each content, shared by all attachments with that content."""

from __future__ import annotations

from typing import Any

from dramatiq import Message

from actors.redis_queue.keys import PREVIEW_QUEUE
from actors.redis_queue.messages import EnqueueRequest
from actors.redis_queue.queue import RedisQueue
from actors.redis_queue.scheduling import SchedulingInfo
from pipeline.models import Record, StoredRecord
from pipeline.services import Services
from pipeline.steps.preview import Content, content_of


def preview_message(content: Content) -> Message[Any]:
    """The message for the preview of a content. Its key allows one at a time in the queue."""
    options = {"key": f"{PREVIEW_QUEUE}:{content.sha256}"}
    return Message(
        queue_name=PREVIEW_QUEUE, actor_name=PREVIEW_QUEUE, args=(), kwargs=content.model_dump(), options=options
    )


def preview_job_for(record: Record) -> EnqueueRequest | None:
    """The preview job of an attachment's content; None if its type has no preview."""
    content = content_of(record)
    if content is None:
        return None
    message = preview_message(content)
    return EnqueueRequest(str(message.options["key"]), PREVIEW_QUEUE, message.encode(), SchedulingInfo(record.session))


def preview_job_after(services: Services, result: object) -> EnqueueRequest | None:
    """The preview job of a content that a step has stored.

    None if PREVIEWS is off, `result` is no StoredRecord, or the content has a preview already or cannot have one.
    """
    if not services.settings.previews or not isinstance(result, StoredRecord) or result.has_preview:
        return None
    return preview_job_for(result)


def enqueue_preview(queue: RedisQueue, record: Record) -> bool:
    """Enqueues the preview job of an attachment's content; False if it has no preview or its job is enqueued already.

    Raises:
        redis.RedisError: Redis is away.
    """
    job = preview_job_for(record)
    return job is not None and queue.preview_queue.enqueue(job.key, job.queue, job.message, scheduling=job.scheduling)
