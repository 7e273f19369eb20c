"""Inline bytes that are no longer needed are removed after an hour; all others stay."""

from __future__ import annotations

import base64
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from actors.maintenance.tasks import INTAKE_TTL_S, remove_leftover_intake
from pipeline.errors import or_raise
from pipeline.models import Attachment, Failure, Record, Refusal, Stage, Status
from pipeline.storage import intake_key
from tests.support.catalogues import failure
from tests.support.media_server import MediaServer
from tests.support.s3 import BUCKET, S3Server, s3_server
from tests.support.system import ROOT, RunningSystem, photo
from tests.support.valkey import ValkeyServer
from tests.support.waiting import wait_until

OLD_S = INTAKE_TTL_S + 60


@pytest.fixture
def s3(monkeypatch: pytest.MonkeyPatch) -> Iterator[S3Server]:
    with s3_server(monkeypatch) as server:
        yield server


@pytest.fixture(params=["local", "s3"])
def either(request: pytest.FixtureRequest, valkey: ValkeyServer, tmp_path: Path) -> Iterator[RunningSystem]:
    """A system on local storage and one on an object store."""
    settings = {"MEDIA_BACKOFF_MS": "50"}
    if request.param == "s3":
        request.getfixturevalue("s3")
        settings["STORAGE_URL"] = f"s3://{BUCKET}/x"
    with closing(RunningSystem(tmp_path, valkey.url, settings)) as system:
        yield system


def inline(system: RunningSystem, **fields: Any) -> Attachment:
    return system.attachment(data=base64.b64encode(photo()).decode(), **fields)


def stands(system: RunningSystem, media_id: str) -> bool:
    return system.services.storage.size(intake_key(media_id)) is not None


def age(system: RunningSystem, media_id: str, seconds: float = OLD_S) -> None:
    """Makes the local intake object one that was written so long ago."""
    then = time.time() - seconds
    os.utime(system.folder / "media" / intake_key(media_id), (then, then))


def end(system: RunningSystem, media_id: str, how: Failure) -> None:
    """Ends it as a worker does."""
    claim = system.services.catalogue.claim(media_id, lease_s=60)
    assert not isinstance(claim, Refusal)
    or_raise(system.services.notify_many([(claim, how)])[0])


def left_by_a_dead_web_app(system: RunningSystem) -> str:
    """An intake object whose process died before it wrote the row."""
    media_id = inline(system).id
    system.services.storage.put_chunks([b"bytes"], intake_key(media_id))
    return media_id


def test_old_bytes_without_a_row_are_removed(either: RunningSystem) -> None:
    media_id = left_by_a_dead_web_app(either)
    assert remove_leftover_intake(either.services) == 0
    assert stands(either, media_id)
    time.sleep(2.1)  # stores tell whole seconds
    assert remove_leftover_intake(either.services, older_than_s=1) == 1
    assert not stands(either, media_id)


def test_bytes_of_an_unfinished_attachment_stay(either: RunningSystem) -> None:
    attachment = inline(either)
    either.hook.accept(attachment)
    time.sleep(1.1)
    assert remove_leftover_intake(either.services, older_than_s=0) == 0
    with either.workers():
        [record] = either.wait_finished(attachment.id)
    assert record.status is Status.DONE


@pytest.mark.parametrize("status", [Status.REJECTED, Status.FAILED, Status.EXPIRED])
def test_bytes_for_a_replay_stay(either: RunningSystem, status: Status) -> None:
    media_id = either.hook.accept(inline(either)).id
    end(either, media_id, failure(status, Stage.FETCH))
    time.sleep(1.1)
    assert remove_leftover_intake(either.services, older_than_s=0) == 0
    assert stands(either, media_id)


def test_bytes_of_a_done_attachment_are_removed(either: RunningSystem) -> None:
    attachment = inline(either)
    with either.workers():
        [record] = either.wait_finished(either.hook.accept(attachment).id)
    assert record.status is Status.DONE
    assert not stands(either, attachment.id)
    either.services.storage.put_chunks([b"a copy that came at the same time"], intake_key(attachment.id))
    time.sleep(1.1)
    assert remove_leftover_intake(either.services, older_than_s=0) == 1
    assert not stands(either, attachment.id)


def test_files_of_no_attachment_stay(system: RunningSystem) -> None:
    for key in ("intake/notes", f"intake/{'a' * 32}/b", f"intakes/{'a' * 32}", f"aa/{'a' * 32}"):
        system.services.storage.put_chunks([b"x"], key)
    assert remove_leftover_intake(system.services, older_than_s=-1) == 0


def test_bytes_removed_before_their_row_are_written_again(
    either: RunningSystem, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The cleanup at the worst moment and without the age check: it has seen no row and removes the bytes."""
    attachment = inline(either)
    accept = either.services.catalogue.accept

    def accept_after_the_chore(*given: Any, **options: Any) -> Any:
        assert remove_leftover_intake(either.services, older_than_s=-3600) == 1
        return accept(*given, **options)

    monkeypatch.setattr(either.services.catalogue, "accept", accept_after_the_chore)
    either.hook.accept(attachment)
    assert stands(either, attachment.id)
    with either.workers():
        [record] = either.wait_finished(attachment.id)
    assert record.status is Status.DONE


def test_repeated_message_during_the_cleanup_keeps_its_bytes(
    either: RunningSystem, monkeypatch: pytest.MonkeyPatch
) -> None:
    attachment = inline(either)
    either.services.storage.put_chunks([b"of a process that died"], intake_key(attachment.id))
    time.sleep(2.1)
    get = either.services.catalogue.get

    with monkeypatch.context() as once:

        def get_before_the_hook(media_id: str) -> Record | None:
            record = get(media_id)
            once.undo()
            either.hook.accept(attachment)
            return record

        once.setattr(either.services.catalogue, "get", get_before_the_hook)
        assert remove_leftover_intake(either.services, older_than_s=1) == 0
    with either.workers():
        [record] = either.wait_finished(attachment.id)
    assert record.status is Status.DONE


def test_killed_web_app_leaves_nothing_after_an_hour(system: RunningSystem) -> None:
    program = (
        "import sys, time; from pipeline.catalogue import Catalogue; from actors.hook import process_media\n"
        "from pipeline.models import Attachment\n"
        "def stop(*_, **__):\n    print('written', flush=True); time.sleep(60)\n"
        "Catalogue.accept = stop\n"
        "process_media(Attachment(session='s', message_id='m', data='Ynl0ZXM='))"
    )
    child = subprocess.Popen(
        [sys.executable, "-c", program], cwd=ROOT, env=system.env, stdout=subprocess.PIPE, start_new_session=True
    )
    assert child.stdout
    assert child.stdout.readline() == b"written\n"
    os.killpg(child.pid, signal.SIGKILL)
    child.communicate(timeout=10)
    [left] = system.stored_files()
    assert left.read_bytes() == b"bytes"
    age(system, left.name, INTAKE_TTL_S - 60)
    assert remove_leftover_intake(system.services) == 0
    age(system, left.name)
    assert remove_leftover_intake(system.services) == 1
    assert system.stored_files() == []


def test_one_worker_cleans_the_intake_at_start(make_system: Callable[..., RunningSystem]) -> None:
    system = make_system()
    first = left_by_a_dead_web_app(system)
    age(system, first)
    with MediaServer({"a.jpg": photo()}) as server, system.workers(processes=2) as workers:
        wait_until(lambda: not stands(system, first), 15)
        system.wait_finished(system.submit(url=server.url("a.jpg")).id)
        assert len(workers.logged("leftover uploads removed")) == 1
        second = left_by_a_dead_web_app(system)
        age(system, second)
        with system.workers() as others:  # their turn comes ten minutes later
            system.wait_finished(system.submit(url=server.url("a.jpg")).id)
            time.sleep(1)
            assert others.logged("leftover uploads removed") == []
    assert stands(system, second)
