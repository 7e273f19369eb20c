"""Previews on real workers, a real Valkey and a real catalogue: made once for a content, and never in anybody's way."""

from __future__ import annotations

import base64
import contextlib
import io
import sqlite3
import time
from collections.abc import Callable

import pytest
from PIL import Image

from actors.broker.preview_consumer import Background
from actors.maintenance.deletions import delete, finish_deletions
from actors.redis_queue.keys import PREVIEW_QUEUE
from actors.redis_queue.preview_jobs import preview_job_for, preview_message, request_preview
from actors.redis_queue.queue import open_queue
from pipeline.catalogue import Preview, PreviewState
from pipeline.models import Record, Stage, Status
from pipeline.steps.preview import Content, content_of
from pipeline.storage import thumbnail_key
from tests.esteira.web.api.test_media_content import holding
from tests.support.samples import sample
from tests.support.system import RunningSystem, photo
from tests.support.waiting import wait_until
from tests.support.web_server import TOKEN, web_server

STAGES = tuple(stage.value for stage in Stage)
MakeSystem = Callable[..., RunningSystem]


@pytest.fixture
def system(make_system: MakeSystem) -> RunningSystem:
    return make_system(media_backoff_ms="50", previews="true", log_level="debug")


def handed_over(system: RunningSystem, content: bytes, **fields: str) -> str:
    return system.submit(data=base64.b64encode(content).decode(), **fields).id


def preview_of(system: RunningSystem, record: Record) -> Preview | None:
    return system.services.catalogue.previews.get_many([str(record.sha256)]).get(str(record.sha256))


def previewed(system: RunningSystem, media_id: str, *, within_s: float = 60) -> Preview:
    """The preview of an attachment, once it is made."""
    (record,) = system.wait_finished(media_id)
    wait_until(lambda: preview_of(system, record), within_s)
    found = preview_of(system, record)
    assert found
    return found


def done_but_for_previews(system: RunningSystem, number: int, **fields: str) -> list[str]:
    """So many attachments that are done, whose previews are asked for and not made."""
    waiting = errands(system)["ready"]
    ids = [handed_over(system, photo(), **fields) for _ in range(number)]
    with system.workers(queues=STAGES):
        wait_until(lambda: errands(system)["ready"] == waiting + number, 60)
    return ids


def errands(system: RunningSystem) -> dict[str, int]:
    return system.queue.preview_queue.stats.counts()[PREVIEW_QUEUE]


@pytest.mark.parametrize("name", ["jpeg/pillow", "webp/animated", "mp4/h264", "pdf/libreoffice"])
def test_what_can_be_seen_gets_a_thumbnail_beside_its_content(system: RunningSystem, name: str) -> None:
    media_id = handed_over(system, sample(name))
    with system.workers():
        preview = previewed(system, media_id)
    assert (preview.state, preview.peaks) == (PreviewState.MADE, None)
    picture = b"".join(system.services.storage.chunks(thumbnail_key(preview.sha256)))
    with Image.open(io.BytesIO(picture), formats=["WEBP"]) as image:
        assert image.size == (preview.width, preview.height)
        assert max(image.size) <= 320
    assert 15 <= len(base64.b64decode(preview.thumbhash or "")) <= 26
    assert system.record(media_id).status is Status.DONE
    assert system.staged_files() == []


def test_what_can_be_heard_gets_a_waveform(system: RunningSystem) -> None:
    media_id = handed_over(system, sample("ogg/opus"), kind="ptt")
    with system.workers():
        preview = previewed(system, media_id)
    assert (preview.state, preview.width, preview.thumbhash) == (PreviewState.MADE, None, None)
    assert preview.peaks
    assert len(preview.peaks) == 100
    assert max(preview.peaks) == 100


def test_the_same_content_is_drawn_once(system: RunningSystem) -> None:
    content = photo()
    with system.workers() as workers:
        first = handed_over(system, content)
        previewed(system, first)
        others = [handed_over(system, content) for _ in range(3)]
        system.wait_finished(*others)
        wait_until(lambda: not any(errands(system).values()), 10)
        assert len(workers.logged("preview made")) == 1


def test_what_nothing_can_be_shown_of_asks_for_nothing(system: RunningSystem) -> None:
    media_id = handed_over(system, sample("docx/python-docx"))
    with system.workers():
        (record,) = system.wait_finished(media_id)
    assert record.status is Status.DONE
    assert preview_of(system, record) is None
    assert errands(system) == {"ready": 0, "delayed": 0, "running": 0, "dead": 0}


@pytest.mark.parametrize("chain", ["run", "hop"])
def test_without_previews_nobody_is_asked_for_any(make_system: MakeSystem, chain: str) -> None:
    system = make_system(previews="false", chain=chain)
    with system.workers():
        (record,) = system.wait_finished(handed_over(system, photo()))
    assert errands(system)["ready"] == 0
    assert preview_of(system, record) is None


def test_a_preview_is_asked_for_when_every_stage_hops_too(make_system: MakeSystem) -> None:
    system = make_system(chain="hop", previews="true")
    with system.workers():
        assert previewed(system, handed_over(system, photo())).state is PreviewState.MADE


def test_every_attachment_goes_before_every_preview(system: RunningSystem) -> None:
    done_but_for_previews(system, 8)
    second = [handed_over(system, photo()) for _ in range(8)]
    with system.workers(threads=1) as workers:
        system.wait_finished(*second)
        wait_until(lambda: sum(errands(system).values()) == 0, 60)
        log = workers.log.read_text()
    assert log.count('"attachment finished"') == 8
    assert log.count('"preview made"') == 16
    assert log.rindex('"attachment finished"') < log.index('"preview made"')


def test_workers_of_the_stages_alone_leave_previews_to_those_that_serve_them(system: RunningSystem) -> None:
    ids = done_but_for_previews(system, 3)
    with system.workers(queues=(PREVIEW_QUEUE,)):
        for media_id in ids:
            assert previewed(system, media_id).state is PreviewState.MADE


def background(system: RunningSystem, *, busy: list[int], threads: int, alone: bool = False) -> Background:
    held = Background(open_queue(system.settings).preview_queue, "tester", lambda: busy[0])
    held.size_for(threads, alone=alone)
    return held


def put_errands(system: RunningSystem, number: int) -> None:
    for count in range(number):
        message = preview_message(Content(sha256=f"{count:064x}", type="jpeg"))
        system.queue.preview_queue.enqueue(str(message.options["key"]), PREVIEW_QUEUE, message.encode())


def test_previews_take_a_quarter_of_the_threads_and_none_that_an_attachment_needs(system: RunningSystem) -> None:
    put_errands(system, 20)
    busy = [0]
    ours = background(system, busy=busy, threads=8)
    assert len(ours.take()) == 2
    assert ours.take() == []
    ours = background(system, busy=busy, threads=8, alone=True)
    assert len(ours.take()) == 2  # what this worker holds already
    assert len(ours.take()) == 6
    for threads, occupied, room in ((8, 8, 0), (8, 20, 0), (8, 7, 1), (1, 0, 1), (3, 0, 1), (1, 1, 0)):
        busy[0] = occupied
        system.queue.preview_queue.client.flushall()
        put_errands(system, 20)
        assert len(background(system, busy=busy, threads=threads).take()) == room


def test_sessions_take_turns_with_their_previews(system: RunningSystem) -> None:
    done_but_for_previews(system, 6, session="many")
    (few,) = done_but_for_previews(system, 1, session="few")
    wanted = preview_job_for(system.record(few))
    assert wanted
    ours = background(system, busy=[0], threads=2, alone=True)
    assert wanted.key in {item.key for item in ours.take()}


def test_the_sessions_figures_are_those_of_the_stages(system: RunningSystem) -> None:
    put_errands(system, 3)
    assert errands(system)["ready"] == 3
    assert system.queue.stats.sessions() == {}
    assert PREVIEW_QUEUE not in system.queue.stats.counts()


def test_what_a_dead_worker_held_is_drawn_by_another(system: RunningSystem) -> None:
    (media_id,) = done_but_for_previews(system, 1)
    dead = open_queue(system.settings).preview_queue
    assert dead.fetch("dead", 1, [PREVIEW_QUEUE])[1]
    assert dead.reap("dead", silence_ms=0, crash=True) == 1
    with system.workers():
        assert previewed(system, media_id).state is PreviewState.MADE


def test_what_brings_three_workers_down_is_given_up_and_hurts_no_other(system: RunningSystem) -> None:
    media_id, other = done_but_for_previews(system, 2)
    poison = preview_job_for(system.record(media_id))
    assert poison
    belt = open_queue(system.settings).preview_queue
    for number in range(3):
        handed = belt.fetch(f"dead-{number}", 2, [PREVIEW_QUEUE])[1]
        delivery_id = next(item.delivery_id for item in handed if item.key == poison.key)
        belt.mark_started(f"dead-{number}", poison.key, delivery_id)
        belt.reap(f"dead-{number}", silence_ms=0, crash=True)
    with system.workers() as workers:
        assert previewed(system, media_id).state is PreviewState.FAILED
        assert previewed(system, other).state is PreviewState.MADE
        assert [line["code"] for line in workers.logged("preview failed")] == ["poison"]
        (third,) = system.wait_finished(handed_over(system, photo()))
    assert third.status is Status.DONE


def test_garbage_among_errands_is_put_aside(system: RunningSystem) -> None:
    aside = system.queue.preview_queue
    good = preview_message(Content(sha256="ab" * 32, type="jpeg"))
    wrong = {
        "no-message": b"{",
        "other-actor": good.copy(actor_name="fetch").encode(),
        "no-hash": good.copy(kwargs={"sha256": "../../etc", "type": "jpeg"}).encode(),
        "more": good.copy(kwargs={**good.kwargs, "media_id": "x"}).encode(),
        "attempt": good.copy(kwargs={**good.kwargs, "attempt": "x"}).encode(),
        "options": good.copy(options={"retries": 1}).encode(),
    }
    for key, data in wrong.items():
        aside.enqueue(key, PREVIEW_QUEUE, data)
    media_id = handed_over(system, photo())
    with system.workers():
        assert previewed(system, media_id).state is PreviewState.MADE
        wait_until(lambda: errands(system) == {"ready": 0, "delayed": 0, "running": 0, "dead": len(wrong)}, 10)


def test_an_errand_on_the_belt_of_the_stages_is_no_message(system: RunningSystem) -> None:
    system.queue.enqueue("x", "fetch", preview_message(Content(sha256="ab" * 32, type="jpeg")).encode())
    with system.workers():
        system.wait_finished(handed_over(system, photo()))
        wait_until(lambda: system.queue.stats.counts()["fetch"]["dead"] == 1, 10)


def test_a_content_that_is_gone_leaves_nothing_behind(system: RunningSystem) -> None:
    message = preview_message(Content(sha256="ab" * 32, type="jpeg"))
    system.queue.preview_queue.enqueue(str(message.options["key"]), PREVIEW_QUEUE, message.encode())
    with system.workers():
        wait_until(lambda: not any(errands(system).values()), 20)
    assert system.services.catalogue.previews.get_many(["ab" * 32]) == {}


def test_a_wiped_redis_costs_previews_alone_and_they_can_be_asked_for_again(system: RunningSystem) -> None:
    (media_id,) = done_but_for_previews(system, 1)
    (record,) = system.wait_finished(media_id)
    system.queue.client.flushall()
    assert system.sweep() == 0
    assert request_preview(system.queue, record)
    assert not request_preview(system.queue, record)
    with system.workers():
        assert previewed(system, media_id).state is PreviewState.MADE


def shown(system: RunningSystem, content: bytes, number: int = 1) -> list[Record]:
    """So many attachments with this content, which has a preview."""
    ids = [handed_over(system, content) for _ in range(number)]
    with system.workers():
        for media_id in ids:
            previewed(system, media_id)
    return system.wait_finished(*ids)


def test_a_preview_goes_with_its_content_and_not_before(system: RunningSystem) -> None:
    first, second = shown(system, photo(), 2)
    delete(system.services, first.id)
    assert preview_of(system, second)
    assert len(system.stored_files()) == 2
    delete(system.services, second.id)
    assert preview_of(system, second) is None
    assert system.stored_files() == []


def test_a_preview_that_is_made_while_its_content_is_deleted_does_not_stay(system: RunningSystem) -> None:
    (record,) = shown(system, photo())
    content = content_of(record)
    assert content
    preview = system.services.make_preview(content)  # drawn, and put beside the content …
    delete(system.services, record.id)  # … which goes …
    system.services.storage.put_chunks([b"RIFF"], thumbnail_key(content.sha256))
    system.services.save_preview(preview)  # … before that is noted
    assert preview_of(system, record) is None
    assert system.stored_files() == []


def test_what_is_stored_again_after_its_deletion_is_drawn_again(system: RunningSystem) -> None:
    content = photo()
    (record,) = shown(system, content)
    delete(system.services, record.id)
    (again,) = shown(system, content)
    assert again.sha256 == record.sha256
    assert preview_of(system, again)


def test_a_deletion_that_was_broken_off_takes_the_preview_along_when_it_is_finished(system: RunningSystem) -> None:
    (record,) = shown(system, photo())
    assert system.services.catalogue.delete(record.id)  # and its process was killed
    system.services.catalogue._clock = lambda: time.time() + 600
    assert finish_deletions(system.services) == 1
    assert preview_of(system, record) is None
    assert system.stored_files() == []


def test_a_storage_that_fails_is_asked_again_and_then_it_is_noted(system: RunningSystem) -> None:
    (media_id,) = done_but_for_previews(system, 1)
    (record,) = system.wait_finished(media_id)
    stored = system.settings.var_dir / "media" / str(record.storage_key)
    stored.unlink()
    stored.mkdir()  # which no decoder can read
    stored.joinpath("x").touch()
    with system.workers() as workers:
        wait_until(lambda: not any(errands(system).values()), 30)
        assert workers.logged("preview made") == []
    assert system.staged_files() == []


def test_a_preview_whose_catalogue_is_away_waits_for_it(system: RunningSystem) -> None:
    (media_id,) = done_but_for_previews(system, 1)
    with contextlib.closing(sqlite3.connect(system.folder / "esteira.db", isolation_level=None)) as other:
        other.execute("BEGIN IMMEDIATE")
        with system.workers(queues=(PREVIEW_QUEUE,)) as workers:
            wait_until(lambda: workers.logged("preview put off"), 90)
            other.execute("ROLLBACK")
            assert previewed(system, media_id).state is PreviewState.MADE


def test_what_cannot_be_drawn_is_noted_and_the_worker_goes_on(system: RunningSystem) -> None:
    broken = holding(system, b"no picture at all")
    assert request_preview(system.queue, broken)
    with system.workers() as workers:
        wait_until(lambda: preview_of(system, broken), 60)
        assert previewed(system, handed_over(system, photo())).state is PreviewState.MADE
        assert [line["code"] for line in workers.logged("preview failed")] == ["broken"]
    noted = preview_of(system, broken)
    assert noted
    assert noted.state is PreviewState.FAILED
    assert system.record(broken.id).status is Status.DONE
    assert system.staged_files() == []


def test_a_thumbnail_that_is_asked_for_over_http_is_made_and_then_given(system: RunningSystem) -> None:
    (media_id,) = done_but_for_previews(system, 1)
    system.queue.client.flushall()  # nobody remembers that it was asked for
    token = {"Authorization": f"Bearer {TOKEN}"}
    with web_server(system) as server, system.workers():

        def status() -> int:
            return server.request("GET", f"/media/{media_id}/thumbnail", headers=token).status

        assert status() == 202
        wait_until(lambda: status() == 200, 60)
        picture = server.request("GET", f"/media/{media_id}/thumbnail", headers=token).body
        told = server.request("GET", f"/media/{media_id}", headers=token).json["preview"]
        figures = server.request("GET", "/stats", headers=token).json
    with Image.open(io.BytesIO(picture), formats=["WEBP"]) as image:
        assert image.size == (told["width"], told["height"])
    assert list(figures["queues"]) == [*STAGES, PREVIEW_QUEUE]
    assert figures["totals"]["done"] == 1
