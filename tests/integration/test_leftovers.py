"""Staged files of killed workers are removed once the attachment is finished."""

from __future__ import annotations

import os
import time

import pytest

from actors.maintenance.tasks import STAGED_MAX_IDLE_S, STAGED_MIN_IDLE_S, remove_leftover_staging
from pipeline.models import Status
from tests.support.media_server import MediaServer
from tests.support.system import RunningSystem, photo

PART = ".0123abcd.part"


def leave(system: RunningSystem, name: str, *, age_s: float = STAGED_MIN_IDLE_S + 5) -> None:
    """Writes a file of this age into the staging directory."""
    path = system.settings.staging / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(b"half")
    then = time.time() - age_s
    os.utime(path, (then, then))


def done(system: RunningSystem) -> str:
    with MediaServer({"a.jpg": photo()}) as server, system.workers():
        [record] = system.wait_finished(system.submit(url=server.url("a.jpg")).id)
    assert record.status is Status.DONE
    return record.id


def test_staged_files_of_a_finished_attachment_are_removed(system: RunningSystem) -> None:
    media_id = done(system)
    leave(system, media_id)
    leave(system, media_id + PART)
    assert remove_leftover_staging(system.services) == 1
    assert system.staged_files() == []
    assert remove_leftover_staging(system.services) == 0


def test_staged_files_that_may_be_needed_stay(system: RunningSystem) -> None:
    media_id = done(system)
    running = system.submit(url="http://127.0.0.1:9/never").id  # and no worker holds it
    leave(system, running)
    leave(system, running + PART)
    leave(system, media_id + PART, age_s=1)
    leave(system, "f" * 32 + PART)
    leave(system, media_id, age_s=STAGED_MAX_IDLE_S + 5)
    before = system.staged_files()
    assert remove_leftover_staging(system.services) == 0
    assert system.staged_files() == before


@pytest.mark.slow
def test_bytes_of_a_failed_attachment_wait_for_a_replay(system: RunningSystem) -> None:
    with system.workers():
        [record] = system.wait_finished(system.submit(url="http://127.0.0.1:9/never").id)
    assert record.status is Status.FAILED
    leave(system, record.id)
    leave(system, record.id + PART)
    assert remove_leftover_staging(system.services) == 1
    assert system.staged_files() == [record.id]
