"""What a killed worker leaves in the staging directory goes once the attachment has ended."""

from __future__ import annotations

import os
import time

import pytest

from actors.maintenance.schedule import CLEAR_AFTER_S, CLEAR_WITHIN_S, clear
from pipeline.models import Status
from tests.support.media_server import MediaServer
from tests.support.system import Plant, photo

PART = ".0123abcd.part"


def leave(plant: Plant, name: str, *, age_s: float = CLEAR_AFTER_S + 5) -> None:
    """A file in the staging directory that nobody has touched for so long."""
    path = plant.settings.staging / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(b"half")
    then = time.time() - age_s
    os.utime(path, (then, then))


def done(plant: Plant) -> str:
    with MediaServer({"a.jpg": photo()}) as server, plant.workers():
        [record] = plant.ended(plant.submit(url=server.url("a.jpg")).id)
    assert record.status is Status.DONE
    return record.id


def test_parts_and_bytes_of_an_attachment_that_has_ended_go(plant: Plant) -> None:
    media_id = done(plant)
    leave(plant, media_id)
    leave(plant, media_id + PART)
    assert clear(plant.services) == 1
    assert plant.staged_files() == []
    assert clear(plant.services) == 0


def test_what_may_still_be_needed_stays(plant: Plant) -> None:
    media_id = done(plant)
    running = plant.submit(url="http://127.0.0.1:9/never").id  # and nobody works on it
    leave(plant, running)
    leave(plant, running + PART)
    leave(plant, media_id + PART, age_s=1)
    leave(plant, "f" * 32 + PART)
    leave(plant, media_id, age_s=CLEAR_WITHIN_S + 5)
    before = plant.staged_files()
    assert clear(plant.services) == 0
    assert plant.staged_files() == before


@pytest.mark.slow
def test_a_failed_ones_bytes_wait_for_the_replay_and_its_parts_do_not(plant: Plant) -> None:
    with plant.workers():
        [record] = plant.ended(plant.submit(url="http://127.0.0.1:9/never").id)
    assert record.status is Status.FAILED
    leave(plant, record.id)
    leave(plant, record.id + PART)
    assert clear(plant.services) == 1
    assert plant.staged_files() == [record.id]
