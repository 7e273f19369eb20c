"""What is asked of the sixth queue: the preview of a content, once for all attachments that carry it."""

from __future__ import annotations

from typing import Any

from dramatiq import Message

from actors.redis_queue.keys import DERIVE
from actors.redis_queue.queue import EnqueueRequest, RedisQueue
from actors.redis_queue.scheduling import SchedulingInfo
from pipeline.models import Record, StoredRecord
from pipeline.services import Services
from pipeline.steps.preview import Content, content_of


def errand_message(content: Content) -> Message[Any]:
    """The message that asks for the preview of a content; there is one at a time on the belt."""
    options = {"key": f"{DERIVE}:{content.sha256}"}
    return Message(queue_name=DERIVE, actor_name=DERIVE, args=(), kwargs=content.model_dump(), options=options)


def offer_of(record: Record) -> EnqueueRequest | None:
    """What asks for the preview of this attachment's content; None if there is nothing to show of it."""
    content = content_of(record)
    if content is None:
        return None
    message = errand_message(content)
    return EnqueueRequest(str(message.options["key"]), DERIVE, message.encode(), SchedulingInfo(record.session))


def offer_after(tools: Services, result: object) -> EnqueueRequest | None:
    """The offer for a content that has just been stored, unless a preview of it was made before."""
    if not tools.settings.previews or not isinstance(result, StoredRecord) or result.has_preview:
        return None
    return offer_of(result)


def offer(belt: RedisQueue, record: Record) -> bool:
    """Asks for the preview of an attachment's content; False if there is nothing to show or it was asked for before.

    Raises:
        redis.RedisError: the belt is out of reach.
    """
    wanted = offer_of(record)
    return wanted is not None and belt.aside.offer(wanted.key, wanted.queue, wanted.message, place=wanted.place)
