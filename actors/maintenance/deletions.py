"""Deletion: what has ended goes, and its content with it unless another attachment has the same.

The row stays as a tombstone without words and names: a repeat of the same message is a duplicate of it, and brings
nothing back.
"""

from __future__ import annotations

import time

import redis
import structlog

from actors.redis_queue.queue import QUICK_TIMEOUT_S, connect
from pipeline.errors import Code, PermanentError
from pipeline.models import Record, Status
from pipeline.notifiers.live import remove_events
from pipeline.services import Services
from pipeline.steps.notify import event_ids
from pipeline.storage import intake_key

# Long before whoever stores the same content stops waiting for a deletion; see pipeline.steps.persist.
BEGUN_WITHIN_S = 5.0
UNDONE_FOR_S = 120.0

log = structlog.get_logger()


def delete(tools: Services, media_id: str) -> Record:
    """Deletes one attachment; once more is no error. Returns its tombstone.

    Raises:
        PermanentError: `not_found`; `not_ended`, if it is still under way.
        RetryableError: `catalogue`, and it is as it was; `storage`, and a worker removes the content later.
    """
    began = time.monotonic()
    tombstone = tools.catalogue.deletions.start(media_id)
    if tombstone is None:
        return _deleted_before(tools.catalogue.get(media_id))
    _take_back(tools, tombstone)
    tools.staging.discard(media_id)
    tools.storage.delete(intake_key(media_id))
    if tombstone.storage_key and _remove_content(tools, tombstone, began):
        tools.catalogue.deletions.finish(tombstone)
    log.info("attachment deleted", id=media_id, session=tombstone.session)
    return tombstone


def finish_deletions(tools: Services) -> int:
    """Removes the content of deletions that were broken off; returns how many.

    Raises:
        RetryableError: `catalogue` or `storage`.
    """
    undone = tools.catalogue.deletions.unfinished(older_than_s=UNDONE_FOR_S)
    for media_id in undone:
        delete(tools, media_id)
    return len(undone)


def _take_back(tools: Services, tombstone: Record) -> None:
    """Takes what was told of it out of the history of live events; what clients have heard, they have heard."""
    try:
        with connect(tools.settings.redis, timeout_s=QUICK_TIMEOUT_S) as client:
            remove_events(client, event_ids(tombstone))
    except (redis.RedisError, OSError) as error:
        reason = f"{type(error).__name__}: it stays until EVENT_HISTORY newer events have come"
        log.warning("live events keep what was deleted", id=tombstone.id, error=reason)


def _remove_content(tools: Services, tombstone: Record, began: float) -> bool:
    """Whether nothing is left to do for the content: it is gone, or another attachment has it."""
    if (
        tombstone.sha256 is None
        or tombstone.storage_key is None
        or tools.catalogue.deletions.is_content_in_use(tombstone.sha256)
    ):
        return True
    if time.monotonic() - began > BEGUN_WITHIN_S:
        return False
    tools.storage.delete(tombstone.storage_key)
    tools.discard_preview(tombstone.sha256)
    return True


def _deleted_before(record: Record | None) -> Record:
    if record is None:
        raise PermanentError(Code.NOT_FOUND, "unknown: there is no such attachment")
    if record.status is not Status.DELETED:
        raise PermanentError(Code.NOT_ENDED, f"is {record.status}; only what has ended can be deleted")
    return record
