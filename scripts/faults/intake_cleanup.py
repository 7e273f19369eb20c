"""Runs the cleanup of inline bytes and partial files now and for any age; a worker removes them after an hour."""

from __future__ import annotations

from actors.maintenance.tasks import remove_leftover_intake
from pipeline.services import services

if __name__ == "__main__":
    remove_leftover_intake(services(), older_than_s=0)
    services().storage.discard_stale_parts(0)
    services().close()
