"""What is asked of the sixth queue: the preview of a content, once for all attachments that carry it."""

from __future__ import annotations

from typing import Any

from dramatiq import Message

from actors.redis_queue.keys import PREVIEW_QUEUE
from actors.redis_queue.queue import EnqueueRequest, RedisQueue
from actors.redis_queue.scheduling import SchedulingInfo
from pipeline.models import Record, StoredRecord
from pipeline.services import Services
from pipeline.steps.preview import Content, content_of


def preview_message(content: Content) -> Message[Any]:
    """The message that asks for the preview of a content; there is one at a time on the belt."""
    options = {"key": f"{PREVIEW_QUEUE}:{content.sha256}"}
    return Message(
        queue_name=PREVIEW_QUEUE, actor_name=PREVIEW_QUEUE, args=(), kwargs=content.model_dump(), options=options
    )


def preview_job_for(record: Record) -> EnqueueRequest | None:
    """What asks for the preview of this attachment's content; None if there is nothing to show of it."""
    content = content_of(record)
    if content is None:
        return None
    message = preview_message(content)
    return EnqueueRequest(str(message.options["key"]), PREVIEW_QUEUE, message.encode(), SchedulingInfo(record.session))


def preview_job_after(tools: Services, result: object) -> EnqueueRequest | None:
    """The offer for a content that has just been stored, unless a preview of it was made before."""
    if not tools.settings.previews or not isinstance(result, StoredRecord) or result.has_preview:
        return None
    return preview_job_for(result)


def request_preview(belt: RedisQueue, record: Record) -> bool:
    """Asks for the preview of an attachment's content; False if there is nothing to show or it was asked for before.

    Raises:
        redis.RedisError: the belt is out of reach.
    """
    wanted = preview_job_for(record)
    return wanted is not None and belt.preview_queue.enqueue(
        wanted.key, wanted.queue, wanted.message, scheduling=wanted.scheduling
    )
