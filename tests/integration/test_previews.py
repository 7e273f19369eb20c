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
from actors.redis_queue.keys import DERIVE
from actors.redis_queue.preview_jobs import errand_message, offer, offer_of
from actors.redis_queue.queue import open_queue
from pipeline.catalogue import Preview, PreviewState
from pipeline.models import Record, Stage, Status
from pipeline.steps.preview import Content, content_of
from pipeline.storage import thumbnail_key
from tests.esteira.web.api.test_media_content import holding
from tests.support.samples import sample
from tests.support.system import Plant, photo, wait_until
from tests.support.web_server import TOKEN, web_server

STAGES = tuple(stage.value for stage in Stage)
MakePlant = Callable[..., Plant]


@pytest.fixture
def plant(make_plant: MakePlant) -> Plant:
    return make_plant(media_backoff_ms="50", previews="true", log_level="debug")


def handed_over(plant: Plant, content: bytes, **fields: str) -> str:
    return plant.submit(data=base64.b64encode(content).decode(), **fields).id


def preview_of(plant: Plant, record: Record) -> Preview | None:
    return plant.services.catalogue.previews.of([str(record.sha256)]).get(str(record.sha256))


def previewed(plant: Plant, media_id: str, *, within_s: float = 60) -> Preview:
    """The preview of an attachment, once it is made."""
    (record,) = plant.ended(media_id)
    wait_until(lambda: preview_of(plant, record), within_s)
    found = preview_of(plant, record)
    assert found
    return found


def done_but_for_previews(plant: Plant, number: int, **fields: str) -> list[str]:
    """So many attachments that are done, whose previews are asked for and not made."""
    waiting = errands(plant)["ready"]
    ids = [handed_over(plant, photo(), **fields) for _ in range(number)]
    with plant.workers(queues=STAGES):
        wait_until(lambda: errands(plant)["ready"] == waiting + number, 60)
    return ids


def errands(plant: Plant) -> dict[str, int]:
    return plant.belt.aside.counts()[DERIVE]


@pytest.mark.parametrize("name", ["jpeg/pillow", "webp/animated", "mp4/h264", "pdf/libreoffice"])
def test_what_can_be_seen_gets_a_thumbnail_beside_its_content(plant: Plant, name: str) -> None:
    media_id = handed_over(plant, sample(name))
    with plant.workers():
        preview = previewed(plant, media_id)
    assert (preview.state, preview.peaks) == (PreviewState.MADE, None)
    picture = b"".join(plant.services.storage.chunks(thumbnail_key(preview.sha256)))
    with Image.open(io.BytesIO(picture), formats=["WEBP"]) as image:
        assert image.size == (preview.width, preview.height)
        assert max(image.size) <= 320
    assert 15 <= len(base64.b64decode(preview.thumbhash or "")) <= 26
    assert plant.record(media_id).status is Status.DONE
    assert plant.staged_files() == []


def test_what_can_be_heard_gets_a_waveform(plant: Plant) -> None:
    media_id = handed_over(plant, sample("ogg/opus"), kind="ptt")
    with plant.workers():
        preview = previewed(plant, media_id)
    assert (preview.state, preview.width, preview.thumbhash) == (PreviewState.MADE, None, None)
    assert preview.peaks
    assert len(preview.peaks) == 100
    assert max(preview.peaks) == 100


def test_the_same_content_is_drawn_once(plant: Plant) -> None:
    content = photo()
    with plant.workers() as workers:
        first = handed_over(plant, content)
        previewed(plant, first)
        others = [handed_over(plant, content) for _ in range(3)]
        plant.ended(*others)
        wait_until(lambda: not any(errands(plant).values()), 10)
        assert len(workers.said("preview made")) == 1


def test_what_nothing_can_be_shown_of_asks_for_nothing(plant: Plant) -> None:
    media_id = handed_over(plant, sample("docx/python-docx"))
    with plant.workers():
        (record,) = plant.ended(media_id)
    assert record.status is Status.DONE
    assert preview_of(plant, record) is None
    assert errands(plant) == {"ready": 0, "delayed": 0, "running": 0, "dead": 0}


@pytest.mark.parametrize("chain", ["run", "hop"])
def test_without_previews_nobody_is_asked_for_any(make_plant: MakePlant, chain: str) -> None:
    plant = make_plant(previews="false", chain=chain)
    with plant.workers():
        (record,) = plant.ended(handed_over(plant, photo()))
    assert errands(plant)["ready"] == 0
    assert preview_of(plant, record) is None


def test_a_preview_is_asked_for_when_every_stage_hops_too(make_plant: MakePlant) -> None:
    plant = make_plant(chain="hop", previews="true")
    with plant.workers():
        assert previewed(plant, handed_over(plant, photo())).state is PreviewState.MADE


def test_every_attachment_goes_before_every_preview(plant: Plant) -> None:
    done_but_for_previews(plant, 8)
    second = [handed_over(plant, photo()) for _ in range(8)]
    with plant.workers(threads=1) as workers:
        plant.ended(*second)
        wait_until(lambda: sum(errands(plant).values()) == 0, 60)
        log = workers.log.read_text()
    assert log.count('"attachment finished"') == 8
    assert log.count('"preview made"') == 16
    assert log.rindex('"attachment finished"') < log.index('"preview made"')


def test_workers_of_the_stages_alone_leave_previews_to_those_that_serve_them(plant: Plant) -> None:
    ids = done_but_for_previews(plant, 3)
    with plant.workers(queues=(DERIVE,)):
        for media_id in ids:
            assert previewed(plant, media_id).state is PreviewState.MADE


def background(plant: Plant, *, busy: list[int], threads: int, alone: bool = False) -> Background:
    held = Background(open_queue(plant.settings).aside, "tester", lambda: busy[0])
    held.size_for(threads, alone=alone)
    return held


def put_errands(plant: Plant, number: int) -> None:
    for count in range(number):
        message = errand_message(Content(sha256=f"{count:064x}", type="jpeg"))
        plant.belt.aside.offer(str(message.options["key"]), DERIVE, message.encode())


def test_previews_take_a_quarter_of_the_threads_and_none_that_an_attachment_needs(plant: Plant) -> None:
    put_errands(plant, 20)
    busy = [0]
    ours = background(plant, busy=busy, threads=8)
    assert len(ours.take()) == 2
    assert ours.take() == []
    ours = background(plant, busy=busy, threads=8, alone=True)
    assert len(ours.take()) == 2  # what this worker holds already
    assert len(ours.take()) == 6
    for threads, occupied, room in ((8, 8, 0), (8, 20, 0), (8, 7, 1), (1, 0, 1), (3, 0, 1), (1, 1, 0)):
        busy[0] = occupied
        plant.belt.aside.client.flushall()
        put_errands(plant, 20)
        assert len(background(plant, busy=busy, threads=threads).take()) == room


def test_sessions_take_turns_with_their_previews(plant: Plant) -> None:
    done_but_for_previews(plant, 6, session="many")
    (few,) = done_but_for_previews(plant, 1, session="few")
    wanted = offer_of(plant.record(few))
    assert wanted
    ours = background(plant, busy=[0], threads=2, alone=True)
    assert wanted.key in {item.key for item in ours.take()}


def test_the_sessions_figures_are_those_of_the_stages(plant: Plant) -> None:
    put_errands(plant, 3)
    assert errands(plant)["ready"] == 3
    assert plant.belt.sessions() == {}
    assert DERIVE not in plant.belt.counts()


def test_what_a_dead_worker_held_is_drawn_by_another(plant: Plant) -> None:
    (media_id,) = done_but_for_previews(plant, 1)
    dead = open_queue(plant.settings).aside
    assert dead.fetch("dead", 1, [DERIVE])[1]
    assert dead.reap("dead", silence_ms=0, crash=True) == 1
    with plant.workers():
        assert previewed(plant, media_id).state is PreviewState.MADE


def test_what_brings_three_workers_down_is_given_up_and_hurts_no_other(plant: Plant) -> None:
    media_id, other = done_but_for_previews(plant, 2)
    poison = offer_of(plant.record(media_id))
    assert poison
    belt = open_queue(plant.settings).aside
    for number in range(3):
        handed = belt.fetch(f"dead-{number}", 2, [DERIVE])[1]
        delivery_id = next(item.delivery_id for item in handed if item.key == poison.key)
        belt.begin(f"dead-{number}", poison.key, delivery_id)
        belt.reap(f"dead-{number}", silence_ms=0, crash=True)
    with plant.workers() as workers:
        assert previewed(plant, media_id).state is PreviewState.FAILED
        assert previewed(plant, other).state is PreviewState.MADE
        assert [line["code"] for line in workers.said("preview failed")] == ["poison"]
        (third,) = plant.ended(handed_over(plant, photo()))
    assert third.status is Status.DONE


def test_garbage_among_errands_is_put_aside(plant: Plant) -> None:
    aside = plant.belt.aside
    good = errand_message(Content(sha256="ab" * 32, type="jpeg"))
    wrong = {
        "no-message": b"{",
        "other-actor": good.copy(actor_name="fetch").encode(),
        "no-hash": good.copy(kwargs={"sha256": "../../etc", "type": "jpeg"}).encode(),
        "more": good.copy(kwargs={**good.kwargs, "media_id": "x"}).encode(),
        "attempt": good.copy(kwargs={**good.kwargs, "attempt": "x"}).encode(),
        "options": good.copy(options={"retries": 1}).encode(),
    }
    for key, data in wrong.items():
        aside.offer(key, DERIVE, data)
    media_id = handed_over(plant, photo())
    with plant.workers():
        assert previewed(plant, media_id).state is PreviewState.MADE
        wait_until(lambda: errands(plant) == {"ready": 0, "delayed": 0, "running": 0, "dead": len(wrong)}, 10)


def test_an_errand_on_the_belt_of_the_stages_is_no_message(plant: Plant) -> None:
    plant.belt.offer("x", "fetch", errand_message(Content(sha256="ab" * 32, type="jpeg")).encode())
    with plant.workers():
        plant.ended(handed_over(plant, photo()))
        wait_until(lambda: plant.belt.counts()["fetch"]["dead"] == 1, 10)


def test_a_content_that_is_gone_leaves_nothing_behind(plant: Plant) -> None:
    message = errand_message(Content(sha256="ab" * 32, type="jpeg"))
    plant.belt.aside.offer(str(message.options["key"]), DERIVE, message.encode())
    with plant.workers():
        wait_until(lambda: not any(errands(plant).values()), 20)
    assert plant.services.catalogue.previews.of(["ab" * 32]) == {}


def test_a_wiped_redis_costs_previews_alone_and_they_can_be_asked_for_again(plant: Plant) -> None:
    (media_id,) = done_but_for_previews(plant, 1)
    (record,) = plant.ended(media_id)
    plant.belt.client.flushall()
    assert plant.sweep() == 0
    assert offer(plant.belt, record)
    assert not offer(plant.belt, record)
    with plant.workers():
        assert previewed(plant, media_id).state is PreviewState.MADE


def shown(plant: Plant, content: bytes, number: int = 1) -> list[Record]:
    """So many attachments with this content, which has a preview."""
    ids = [handed_over(plant, content) for _ in range(number)]
    with plant.workers():
        for media_id in ids:
            previewed(plant, media_id)
    return plant.ended(*ids)


def test_a_preview_goes_with_its_content_and_not_before(plant: Plant) -> None:
    first, second = shown(plant, photo(), 2)
    delete(plant.services, first.id)
    assert preview_of(plant, second)
    assert len(plant.stored_files()) == 2
    delete(plant.services, second.id)
    assert preview_of(plant, second) is None
    assert plant.stored_files() == []


def test_a_preview_that_is_made_while_its_content_is_deleted_does_not_stay(plant: Plant) -> None:
    (record,) = shown(plant, photo())
    content = content_of(record)
    assert content
    preview = plant.services.derive(content)  # drawn, and put beside the content …
    delete(plant.services, record.id)  # … which goes …
    plant.services.storage.put_chunks([b"RIFF"], thumbnail_key(content.sha256))
    plant.services.keep_preview(preview)  # … before that is noted
    assert preview_of(plant, record) is None
    assert plant.stored_files() == []


def test_what_is_stored_again_after_its_deletion_is_drawn_again(plant: Plant) -> None:
    content = photo()
    (record,) = shown(plant, content)
    delete(plant.services, record.id)
    (again,) = shown(plant, content)
    assert again.sha256 == record.sha256
    assert preview_of(plant, again)


def test_a_deletion_that_was_broken_off_takes_the_preview_along_when_it_is_finished(plant: Plant) -> None:
    (record,) = shown(plant, photo())
    assert plant.services.catalogue.delete(record.id)  # and its process was killed
    plant.services.catalogue._clock = lambda: time.time() + 600
    assert finish_deletions(plant.services) == 1
    assert preview_of(plant, record) is None
    assert plant.stored_files() == []


def test_a_storage_that_fails_is_asked_again_and_then_it_is_noted(plant: Plant) -> None:
    (media_id,) = done_but_for_previews(plant, 1)
    (record,) = plant.ended(media_id)
    stored = plant.settings.var_dir / "media" / str(record.storage_key)
    stored.unlink()
    stored.mkdir()  # which no decoder can read
    stored.joinpath("x").touch()
    with plant.workers() as workers:
        wait_until(lambda: not any(errands(plant).values()), 30)
        assert workers.said("preview made") == []
    assert plant.staged_files() == []


def test_a_preview_whose_catalogue_is_away_waits_for_it(plant: Plant) -> None:
    (media_id,) = done_but_for_previews(plant, 1)
    with contextlib.closing(sqlite3.connect(plant.folder / "esteira.db", isolation_level=None)) as other:
        other.execute("BEGIN IMMEDIATE")
        with plant.workers(queues=(DERIVE,)) as workers:
            wait_until(lambda: workers.said("preview put off"), 90)
            other.execute("ROLLBACK")
            assert previewed(plant, media_id).state is PreviewState.MADE


def test_what_cannot_be_drawn_is_noted_and_the_worker_goes_on(plant: Plant) -> None:
    broken = holding(plant, b"no picture at all")
    assert offer(plant.belt, broken)
    with plant.workers() as workers:
        wait_until(lambda: preview_of(plant, broken), 60)
        assert previewed(plant, handed_over(plant, photo())).state is PreviewState.MADE
        assert [line["code"] for line in workers.said("preview failed")] == ["broken"]
    noted = preview_of(plant, broken)
    assert noted
    assert noted.state is PreviewState.FAILED
    assert plant.record(broken.id).status is Status.DONE
    assert plant.staged_files() == []


def test_a_thumbnail_that_is_asked_for_over_http_is_made_and_then_given(plant: Plant) -> None:
    (media_id,) = done_but_for_previews(plant, 1)
    plant.belt.client.flushall()  # nobody remembers that it was asked for
    token = {"Authorization": f"Bearer {TOKEN}"}
    with web_server(plant) as server, plant.workers():

        def status() -> int:
            return server.request("GET", f"/media/{media_id}/thumbnail", headers=token).status

        assert status() == 202
        wait_until(lambda: status() == 200, 60)
        picture = server.request("GET", f"/media/{media_id}/thumbnail", headers=token).body
        told = server.request("GET", f"/media/{media_id}", headers=token).json["preview"]
        figures = server.request("GET", "/stats", headers=token).json
    with Image.open(io.BytesIO(picture), formats=["WEBP"]) as image:
        assert image.size == (told["width"], told["height"])
    assert list(figures["queues"]) == [*STAGES, DERIVE]
    assert figures["totals"]["done"] == 1
