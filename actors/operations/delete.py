"""Deletes an attachment with the services of this process."""

from __future__ import annotations

from actors.maintenance import deletions
from pipeline.models import Record
from pipeline.services import services


def delete(media_id: str) -> Record:
    """Deletes one attachment and returns its tombstone; see `actors.maintenance.deletions.delete`."""
    return deletions.delete(services(), media_id)
