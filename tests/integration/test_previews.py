"""Previews on real workers: made once for a content, in threads that no attachment needs."""

from __future__ import annotations

import base64
import contextlib
import io
import sqlite3
import threading
import time
from collections.abc import Callable

import pytest
from PIL import Image

from actors.broker.acknowledger import WorkerState
from actors.broker.consumer import Fetcher
from actors.broker.prefetch import Prefetcher, PrefetchLimits
from actors.maintenance.deletions import delete, finish_deletions
from actors.redis_queue.keys import PREVIEW_QUEUE
from actors.redis_queue.preview_jobs import enqueue_preview, preview_job_for, preview_message
from actors.redis_queue.queue import open_queue
from pipeline.catalogue import Preview, PreviewState
from pipeline.models import Record, Stage, Status
from pipeline.outage import Outage
from pipeline.steps.preview import Content, content_of
from pipeline.storage import thumbnail_key
from tests.esteira.web.api.test_media_content import stored_media
from tests.support.samples import sample
from tests.support.system import RunningSystem, photo
from tests.support.waiting import wait_until
from tests.support.web_server import TOKEN, web_server

STAGES = tuple(stage.value for stage in Stage)
MakeSystem = Callable[..., RunningSystem]


@pytest.fixture
def system(make_system: MakeSystem) -> RunningSystem:
    return make_system(media_backoff_ms="50", previews="true", log_level="debug")


def submit(system: RunningSystem, content: bytes, **fields: str) -> str:
    return system.submit(data=base64.b64encode(content).decode(), **fields).id


def preview_of(system: RunningSystem, record: Record) -> Preview | None:
    return system.services.catalogue.previews.get_many([str(record.sha256)]).get(str(record.sha256))


def wait_for_preview(system: RunningSystem, media_id: str, *, within_s: float = 60) -> Preview:
    """The preview of an attachment, once it is made."""
    (record,) = system.wait_finished(media_id)
    preview: Preview = wait_until(lambda: preview_of(system, record), within_s)
    return preview


def finished_without_previews(system: RunningSystem, number: int, **fields: str) -> list[str]:
    """Submits attachments and processes them without their previews, whose jobs wait afterwards; returns their ids."""
    before = job_counts(system)["ready"]
    ids = [submit(system, photo(), **fields) for _ in range(number)]
    with system.workers(queues=STAGES):
        wait_until(lambda: job_counts(system)["ready"] == before + number, 60)
    return ids


def job_counts(system: RunningSystem) -> dict[str, int]:
    return system.queue.preview_queue.stats.counts()[PREVIEW_QUEUE]


@pytest.mark.parametrize("name", ["jpeg/pillow", "webp/animated", "mp4/h264", "pdf/libreoffice"])
def test_visible_content_gets_a_thumbnail(system: RunningSystem, name: str) -> None:
    media_id = submit(system, sample(name))
    with system.workers():
        preview = wait_for_preview(system, media_id)
    assert (preview.state, preview.peaks) == (PreviewState.MADE, None)
    picture = b"".join(system.services.storage.chunks(thumbnail_key(preview.sha256)))
    with Image.open(io.BytesIO(picture), formats=["WEBP"]) as image:
        assert image.size == (preview.width, preview.height)
        assert max(image.size) <= 320
    assert 15 <= len(base64.b64decode(preview.thumbhash or "")) <= 26
    assert system.record(media_id).status is Status.DONE
    assert system.staged_files() == []


def test_voice_note_gets_a_waveform(system: RunningSystem) -> None:
    media_id = submit(system, sample("ogg/opus"), kind="ptt")
    with system.workers():
        preview = wait_for_preview(system, media_id)
    assert (preview.state, preview.width, preview.thumbhash) == (PreviewState.MADE, None, None)
    assert preview.peaks
    assert len(preview.peaks) == 100
    assert max(preview.peaks) == 100


def test_same_content_gets_one_preview(system: RunningSystem) -> None:
    content = photo()
    with system.workers() as workers:
        first = submit(system, content)
        wait_for_preview(system, first)
        others = [submit(system, content) for _ in range(3)]
        system.wait_finished(*others)
        wait_until(lambda: not any(job_counts(system).values()), 10)
        assert len(workers.logged("preview made")) == 1


def test_content_without_a_visible_form_enqueues_no_preview_job(system: RunningSystem) -> None:
    media_id = submit(system, sample("docx/python-docx"))
    with system.workers():
        (record,) = system.wait_finished(media_id)
    assert record.status is Status.DONE
    assert preview_of(system, record) is None
    assert job_counts(system) == {"ready": 0, "delayed": 0, "running": 0, "dead": 0}


@pytest.mark.parametrize("chain", ["run", "hop"])
def test_disabled_previews_enqueue_no_job(make_system: MakeSystem, chain: str) -> None:
    system = make_system(previews="false", chain=chain)
    with system.workers():
        (record,) = system.wait_finished(submit(system, photo()))
    assert job_counts(system)["ready"] == 0
    assert preview_of(system, record) is None


def test_preview_is_made_in_hop_mode(make_system: MakeSystem) -> None:
    system = make_system(chain="hop", previews="true")
    with system.workers():
        assert wait_for_preview(system, submit(system, photo())).state is PreviewState.MADE


def test_all_waiting_attachments_finish_before_the_first_preview(system: RunningSystem) -> None:
    finished_without_previews(system, 8)
    second = [submit(system, photo()) for _ in range(8)]
    with system.workers(threads=1) as workers:
        system.wait_finished(*second)
        wait_until(lambda: sum(job_counts(system).values()) == 0, 60)
        log = workers.log.read_text()
    assert log.count('"attachment finished"') == 8
    assert log.count('"preview made"') == 16
    assert log.rindex('"attachment finished"') < log.index('"preview made"')


def test_worker_of_the_preview_queue_makes_the_previews_that_stage_workers_leave(system: RunningSystem) -> None:
    ids = finished_without_previews(system, 3)
    with system.workers(queues=(PREVIEW_QUEUE,)):
        for media_id in ids:
            assert wait_for_preview(system, media_id).state is PreviewState.MADE


def fetch_jobs(system: RunningSystem, *, threads: int, attachments: int = 0, alone: bool = False) -> list[str]:
    """The keys of the jobs that the worker `tester` fetches while attachments take so many of its threads."""
    prefetcher = Prefetcher(free_threads=lambda: threads - attachments)
    prefetcher.limits = PrefetchLimits.of_previews(threads, alone=alone)
    fetcher = Fetcher(
        open_queue(system.settings).preview_queue,
        WorkerState("tester", Outage("redis"), threading.Event()),
        prefetcher=prefetcher,
        queue_names=lambda: [PREVIEW_QUEUE],
    )
    keys = []
    while message := fetcher.next():
        keys.append(message.key)
    return keys


def enqueue_jobs(system: RunningSystem, number: int) -> None:
    for count in range(number):
        message = preview_message(Content(sha256=f"{count:064x}", type="jpeg"))
        system.queue.preview_queue.enqueue(str(message.options["key"]), PREVIEW_QUEUE, message.encode())


def test_previews_take_a_quarter_of_the_threads_and_none_that_an_attachment_needs(system: RunningSystem) -> None:
    enqueue_jobs(system, 20)
    assert len(fetch_jobs(system, threads=8)) == 2
    assert len(fetch_jobs(system, threads=8)) == 2  # the same ones, which this worker holds
    assert len(fetch_jobs(system, threads=8, alone=True)) == 8
    for threads, attachments, jobs in ((8, 8, 0), (8, 20, 0), (8, 7, 1), (1, 0, 1), (3, 0, 1), (1, 1, 0)):
        system.queue.preview_queue.client.flushall()
        enqueue_jobs(system, 20)
        assert len(fetch_jobs(system, threads=threads, attachments=attachments)) == jobs


def test_preview_jobs_of_sessions_take_turns(system: RunningSystem) -> None:
    finished_without_previews(system, 6, session="many")
    (media_id,) = finished_without_previews(system, 1, session="few")
    job = preview_job_for(system.record(media_id))
    assert job
    assert job.key in fetch_jobs(system, threads=2, alone=True)


def test_session_counts_leave_preview_jobs_out(system: RunningSystem) -> None:
    enqueue_jobs(system, 3)
    assert job_counts(system)["ready"] == 3
    assert system.queue.stats.sessions() == {}
    assert PREVIEW_QUEUE not in system.queue.stats.counts()


def test_preview_job_of_a_dead_worker_is_run_by_another(system: RunningSystem) -> None:
    (media_id,) = finished_without_previews(system, 1)
    dead = open_queue(system.settings).preview_queue
    assert dead.fetch("dead", 1, [PREVIEW_QUEUE])[1]
    assert dead.reap("dead", silence_ms=0, crash=True) == 1
    with system.workers():
        assert wait_for_preview(system, media_id).state is PreviewState.MADE


def test_preview_job_that_crashed_three_workers_fails_and_the_others_are_made(system: RunningSystem) -> None:
    media_id, other = finished_without_previews(system, 2)
    poison = preview_job_for(system.record(media_id))
    assert poison
    queue = open_queue(system.settings).preview_queue
    for number in range(3):
        messages = queue.fetch(f"dead-{number}", 2, [PREVIEW_QUEUE])[1]
        delivery_id = next(message.delivery_id for message in messages if message.key == poison.key)
        queue.mark_started(f"dead-{number}", poison.key, delivery_id)
        queue.reap(f"dead-{number}", silence_ms=0, crash=True)
    with system.workers() as workers:
        assert wait_for_preview(system, media_id).state is PreviewState.FAILED
        assert wait_for_preview(system, other).state is PreviewState.MADE
        assert [line["code"] for line in workers.logged("preview failed")] == ["poison"]
        (third,) = system.wait_finished(submit(system, photo()))
    assert third.status is Status.DONE


def test_malformed_preview_jobs_become_dead_letters(system: RunningSystem) -> None:
    queue = system.queue.preview_queue
    good = preview_message(Content(sha256="ab" * 32, type="jpeg"))
    malformed = {
        "no-message": b"{",
        "other-actor": good.copy(actor_name="fetch").encode(),
        "no-hash": good.copy(kwargs={"sha256": "../../etc", "type": "jpeg"}).encode(),
        "more": good.copy(kwargs={**good.kwargs, "media_id": "x"}).encode(),
        "attempt": good.copy(kwargs={**good.kwargs, "attempt": "x"}).encode(),
        "options": good.copy(options={"retries": 1}).encode(),
    }
    for key, data in malformed.items():
        queue.enqueue(key, PREVIEW_QUEUE, data)
    media_id = submit(system, photo())
    with system.workers():
        assert wait_for_preview(system, media_id).state is PreviewState.MADE
        wait_until(lambda: job_counts(system) == {"ready": 0, "delayed": 0, "running": 0, "dead": len(malformed)}, 10)


def test_preview_job_in_a_stage_queue_becomes_a_dead_letter(system: RunningSystem) -> None:
    system.queue.enqueue("x", "fetch", preview_message(Content(sha256="ab" * 32, type="jpeg")).encode())
    with system.workers():
        system.wait_finished(submit(system, photo()))
        wait_until(lambda: system.queue.stats.counts()["fetch"]["dead"] == 1, 10)


def test_preview_job_of_a_missing_content_ends_without_a_preview(system: RunningSystem) -> None:
    message = preview_message(Content(sha256="ab" * 32, type="jpeg"))
    system.queue.preview_queue.enqueue(str(message.options["key"]), PREVIEW_QUEUE, message.encode())
    with system.workers():
        wait_until(lambda: not any(job_counts(system).values()), 20)
    assert system.services.catalogue.previews.get_many(["ab" * 32]) == {}


def test_preview_can_be_requested_again_after_redis_was_wiped(system: RunningSystem) -> None:
    (media_id,) = finished_without_previews(system, 1)
    (record,) = system.wait_finished(media_id)
    system.queue.client.flushall()
    assert system.sweep() == 0
    assert enqueue_preview(system.queue, record)
    assert not enqueue_preview(system.queue, record)
    with system.workers():
        assert wait_for_preview(system, media_id).state is PreviewState.MADE


def with_preview(system: RunningSystem, content: bytes, number: int = 1) -> list[Record]:
    """The records of attachments with this content, once its preview is made."""
    ids = [submit(system, content) for _ in range(number)]
    with system.workers():
        for media_id in ids:
            wait_for_preview(system, media_id)
    return system.wait_finished(*ids)


def test_preview_is_deleted_with_the_last_attachment_of_its_content(system: RunningSystem) -> None:
    first, second = with_preview(system, photo(), 2)
    delete(system.services, first.id)
    assert preview_of(system, second)
    assert len(system.stored_files()) == 2
    delete(system.services, second.id)
    assert preview_of(system, second) is None
    assert system.stored_files() == []


def test_preview_made_during_the_deletion_of_its_content_is_removed(system: RunningSystem) -> None:
    (record,) = with_preview(system, photo())
    content = content_of(record)
    assert content
    preview = system.services.make_preview(content)  # its thumbnail is stored
    delete(system.services, record.id)  # the content goes …
    system.services.storage.put_chunks([b"RIFF"], thumbnail_key(content.sha256))
    system.services.save_preview(preview)  # … before the preview is recorded
    assert preview_of(system, record) is None
    assert system.stored_files() == []


def test_content_stored_again_after_a_deletion_gets_a_preview_again(system: RunningSystem) -> None:
    content = photo()
    (record,) = with_preview(system, content)
    delete(system.services, record.id)
    (again,) = with_preview(system, content)
    assert again.sha256 == record.sha256
    assert preview_of(system, again)


def test_finishing_an_interrupted_deletion_deletes_the_preview(system: RunningSystem) -> None:
    (record,) = with_preview(system, photo())
    assert system.services.catalogue.deletions.start(record.id)  # as a process that was killed afterwards
    system.services.catalogue._clock = lambda: time.time() + 600
    assert finish_deletions(system.services) == 1
    assert preview_of(system, record) is None
    assert system.stored_files() == []


def test_unreadable_stored_file_ends_its_preview_job(system: RunningSystem) -> None:
    (media_id,) = finished_without_previews(system, 1)
    (record,) = system.wait_finished(media_id)
    stored = system.settings.var_dir / "media" / str(record.storage_key)
    stored.unlink()
    stored.mkdir()  # no decoder can read a folder
    stored.joinpath("x").touch()
    with system.workers() as workers:
        wait_until(lambda: not any(job_counts(system).values()), 30)
        assert workers.logged("preview made") == []
    assert system.staged_files() == []


def test_preview_job_waits_while_the_catalogue_is_locked(system: RunningSystem) -> None:
    (media_id,) = finished_without_previews(system, 1)
    with contextlib.closing(sqlite3.connect(system.folder / "esteira.db", isolation_level=None)) as other:
        other.execute("BEGIN IMMEDIATE")
        with system.workers(queues=(PREVIEW_QUEUE,)) as workers:
            wait_until(lambda: workers.logged("preview put off"), 90)
            other.execute("ROLLBACK")
            assert wait_for_preview(system, media_id).state is PreviewState.MADE


def test_broken_content_is_stored_as_failed_preview_and_the_worker_continues(system: RunningSystem) -> None:
    broken = stored_media(system, b"no picture at all")
    assert enqueue_preview(system.queue, broken)
    with system.workers() as workers:
        wait_until(lambda: preview_of(system, broken), 60)
        assert wait_for_preview(system, submit(system, photo())).state is PreviewState.MADE
        assert [line["code"] for line in workers.logged("preview failed")] == ["broken"]
    preview = preview_of(system, broken)
    assert preview
    assert preview.state is PreviewState.FAILED
    assert system.record(broken.id).status is Status.DONE
    assert system.staged_files() == []


def test_thumbnail_requested_over_http_is_made_and_returned(system: RunningSystem) -> None:
    (media_id,) = finished_without_previews(system, 1)
    system.queue.client.flushall()  # so its job is lost
    token = {"Authorization": f"Bearer {TOKEN}"}
    with web_server(system) as server, system.workers():

        def status() -> int:
            return server.request("GET", f"/media/{media_id}/thumbnail", headers=token).status

        assert status() == 202
        wait_until(lambda: status() == 200, 60)
        picture = server.request("GET", f"/media/{media_id}/thumbnail", headers=token).body
        preview = server.request("GET", f"/media/{media_id}", headers=token).json["preview"]
        stats = server.request("GET", "/stats", headers=token).json
    with Image.open(io.BytesIO(picture), formats=["WEBP"]) as image:
        assert image.size == (preview["width"], preview["height"])
    assert list(stats["queues"]) == [*STAGES, PREVIEW_QUEUE]
    assert stats["totals"]["done"] == 1
