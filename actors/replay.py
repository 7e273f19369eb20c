"""Replay: what failed, was rejected or has expired goes again, from the stage that failed if its bytes are there."""

from __future__ import annotations

import structlog

from actors.belt import shared_belt
from actors.delivery import stage_message, wire_form
from pipeline.models import Record
from pipeline.services import services
from pipeline.storage import intake_key

log = structlog.get_logger()


def replay(media_id: str, *, url: str | None = None) -> Record | None:
    """Opens an ended attachment again and puts it on the belt; None if it is unknown or has not ended.

    `url` is a new source, for an attachment whose old one has expired.

    Raises:
        RetryableError: `catalogue`.
        redis.RedisError: it is open again but not on the belt; the sweep puts it there.
    """
    tools = services()
    record = tools.catalogue.reopen(media_id, url=url)
    if record is None:
        return None
    if url:  # what was fetched from the old place must not stand for what lies at the new one
        tools.staging.discard(media_id)
        tools.storage.delete(intake_key(media_id))
    message = stage_message(record.id, record.stage)
    shared_belt().offer(record.id, message.queue_name, wire_form(message))
    log.info("attachment replayed", id=record.id, session=record.session, stage=record.stage.value, run=record.run)
    return record
