"""Deletion of finished attachments: the content is removed unless another attachment has the same.

The row stays as a tombstone without texts and names, so that a repeated message is recognised and restores nothing.
"""

from __future__ import annotations

import time

import redis
import structlog

from actors.redis_queue.queue import QUICK_TIMEOUT_S
from pipeline.errors import Code, PermanentError
from pipeline.models import Record, Status
from pipeline.notifiers.live import remove_events
from pipeline.redis_client import connect
from pipeline.services import Services
from pipeline.steps.notify import event_ids
from pipeline.storage import intake_key

# Far less than an attachment with the same content waits for a deletion; see pipeline.steps.persist.
REMOVE_CONTENT_WITHIN_S = 5.0
INTERRUPTED_AFTER_S = 120.0

log = structlog.get_logger()


def delete(services: Services, media_id: str) -> Record:
    """Deletes one attachment and returns its tombstone. Deleting it again is no error.

    Raises:
        PermanentError: `not_found`; `not_ended`, if it is unfinished.
        RetryableError: `catalogue`, and nothing is changed; `storage`, and a worker removes the content later.
    """
    started = time.monotonic()
    tombstone = services.catalogue.deletions.start(media_id)
    if tombstone is None:
        return _existing_tombstone(services.catalogue.get(media_id))
    _remove_live_events(services, tombstone)
    services.staging.discard(media_id)
    services.storage.delete(intake_key(media_id))
    if tombstone.storage_key and _remove_content(services, tombstone, started):
        services.catalogue.deletions.finish(tombstone)
    log.info("attachment deleted", id=media_id, session=tombstone.session)
    return tombstone


def finish_deletions(services: Services) -> int:
    """Removes the content of interrupted deletions; returns how many.

    Raises:
        RetryableError: `catalogue` or `storage`.
    """
    media_ids = services.catalogue.deletions.unfinished(older_than_s=INTERRUPTED_AFTER_S)
    for media_id in media_ids:
        delete(services, media_id)
    return len(media_ids)


def _remove_live_events(services: Services, tombstone: Record) -> None:
    """Removes the attachment's events from the history of live events; connected clients have received them already."""
    try:
        with connect(services.settings.redis, timeout_s=QUICK_TIMEOUT_S) as client:
            remove_events(client, event_ids(tombstone))
    except (redis.RedisError, OSError) as error:
        log.warning(
            "live events of a deleted attachment kept",
            id=tombstone.id,
            error=type(error).__name__,
            consequence="they are removed when EVENT_HISTORY newer events have come",
        )


def _remove_content(services: Services, tombstone: Record, started: float) -> bool:
    """Whether the content is removed, or another attachment has it; False if there is no time left to remove it."""
    if (
        tombstone.sha256 is None
        or tombstone.storage_key is None
        or services.catalogue.deletions.is_content_in_use(tombstone.sha256)
    ):
        return True
    if time.monotonic() - started > REMOVE_CONTENT_WITHIN_S:
        return False
    services.storage.delete(tombstone.storage_key)
    services.discard_preview(tombstone.sha256)
    return True


def _existing_tombstone(record: Record | None) -> Record:
    if record is None:
        raise PermanentError(Code.NOT_FOUND, "unknown: there is no such attachment")
    if record.status is not Status.DELETED:
        raise PermanentError(
            Code.NOT_ENDED, f"the attachment is {record.status}; only finished attachments can be deleted"
        )
    return record
