"""The five actors in worker processes, with local stages and in hop mode."""

from __future__ import annotations

import hashlib
from collections.abc import Callable

import pytest

from pipeline.models import Stage, Status
from tests.support.media_server import Answer, MediaServer
from tests.support.system import RunningSystem, photo
from tests.support.waiting import wait_until
from tests.support.webhooks import event_ids, posts

SECRET = "whsec_" + "c2VjcmV0LW9mLXRoZS10ZXN0LTEyMzQ1Ng=="


@pytest.fixture(params=["run", "hop"])
def system_of_mode(request: pytest.FixtureRequest, make_system: Callable[..., RunningSystem]) -> RunningSystem:
    """A system that runs its stages in one process, and one where each stage goes through Redis."""
    return make_system(media_backoff_ms="50", chain=request.param)


def test_photo_is_stored_unchanged_and_done(system_of_mode: RunningSystem) -> None:
    image = photo()
    with MediaServer({"a.jpg": image}) as server, system_of_mode.workers():
        receipt = system_of_mode.submit(url=server.url("a.jpg"), kind="image", mimetype="image/jpeg")
        [record] = system_of_mode.wait_finished(receipt.id)
        wait_until(lambda: system_of_mode.queue.find_missing([receipt.id]), 5)
    sha256 = hashlib.sha256(image).hexdigest()
    assert (record.status, record.sha256, record.size) == (Status.DONE, sha256, len(image))
    assert (record.width, record.height, record.mime) == (64, 48, "image/jpeg")
    assert record.name == f"{record.received_at // 1000}_{sha256[:6]}.jpeg"
    [stored] = system_of_mode.stored_files()
    assert stored.read_bytes() == image
    assert system_of_mode.staged_files() == []


def test_each_step_is_logged(system_of_mode: RunningSystem) -> None:
    with MediaServer({"a.jpg": photo()}) as server, system_of_mode.workers() as workers:
        receipt = system_of_mode.submit(url=server.url("a.jpg"), kind="image")
        system_of_mode.wait_finished(receipt.id)
        wait_until(lambda: workers.logged("attachment finished"), 5)
        [stored] = workers.logged("attachment stored")
        [finished] = workers.logged("attachment finished")
        assert workers.logged("attachment started")[0]["id"] == receipt.id
    assert (stored["session"], stored["stage"], stored["attempt"]) == ("s1", "persist", 1)
    assert finished["name"].endswith(".jpeg")
    assert stored["ms"] >= 0
    assert finished["status"] == "done"


def test_attachment_fails_after_three_attempts(system_of_mode: RunningSystem) -> None:
    with MediaServer() as server, system_of_mode.workers():
        server.answers["a.jpg"] = Answer(500)
        receipt = system_of_mode.submit(url=server.url("a.jpg"))
        [record] = system_of_mode.wait_finished(receipt.id)
        assert server.hits("a.jpg") == 3
        wait_until(lambda: system_of_mode.queue.find_missing([receipt.id]), 5)
    assert (record.status, record.stage, record.attempts) == (Status.FAILED, Stage.FETCH, 3)
    assert record.error_code == "fetch_unavailable"
    assert system_of_mode.queue.stats.counts()["fetch"]["dead"] == 1


def test_failed_attachment_is_done_after_a_replay(system_of_mode: RunningSystem) -> None:
    with MediaServer({"a.jpg": photo()}) as server, system_of_mode.workers():
        server.answers["a.jpg"] = Answer(500)
        receipt = system_of_mode.submit(url=server.url("a.jpg"))
        system_of_mode.wait_finished(receipt.id)
        del server.answers["a.jpg"]
        reopened = system_of_mode.services.catalogue.reopen(receipt.id)
        assert reopened
        assert reopened.status is Status.RECEIVED
        system_of_mode.sweep()
        [record] = system_of_mode.wait_finished(receipt.id)
    assert (record.status, record.run) == (Status.DONE, 1)
    assert system_of_mode.queue.stats.counts()["fetch"]["dead"] == 0


def test_refused_content_is_not_retried(system_of_mode: RunningSystem) -> None:
    with MediaServer({"a.jpg": b"<html>log in</html>"}) as server, system_of_mode.workers():
        receipt = system_of_mode.submit(url=server.url("a.jpg"), kind="image")
        [record] = system_of_mode.wait_finished(receipt.id)
        wait_until(lambda: system_of_mode.queue.find_missing([receipt.id]), 5)
        assert server.hits("a.jpg") == 1
    assert (record.status, record.error_code) == (Status.REJECTED, "type_not_allowed")
    assert system_of_mode.stored_files() == []
    assert system_of_mode.staged_files() == []


def test_attachment_of_a_missing_source_expires(system_of_mode: RunningSystem) -> None:
    with MediaServer() as server, system_of_mode.workers():
        receipt = system_of_mode.submit(url=server.url("gone.jpg"))
        [record] = system_of_mode.wait_finished(receipt.id)
    assert (record.status, record.error_code) == (Status.EXPIRED, "source_gone")


@pytest.mark.parametrize("chain", ["run", "hop"])
def test_attachment_is_done_while_its_webhook_is_retried(make_system: Callable[..., RunningSystem], chain: str) -> None:
    with MediaServer({"a.jpg": photo()}) as server:
        server.answers["hook"] = [Answer(500), Answer(500), Answer(204)]
        settings = {"webhook_url": server.url("hook"), "webhook_secret": SECRET, "webhook_retry_s": "0.5,0.5"}
        system = make_system(media_backoff_ms="50", chain=chain, **settings)
        with system.workers():
            receipt = system.submit(url=server.url("a.jpg"))
            [record] = system.wait_finished(receipt.id)
            assert (record.status, record.error_code, record.error) == (Status.DONE, None, None)
            wait_until(lambda: len(posts(server, "hook")) == 3, 30)
        assert server.hits("a.jpg") == 1
        assert len(set(event_ids(server, "hook"))) == 1


def test_results_without_a_file_are_announced(make_system: Callable[..., RunningSystem]) -> None:
    with MediaServer({"bad.jpg": b"<html>"}) as server:
        system = make_system(media_backoff_ms="20", webhook_url=server.url("hook"), webhook_secret=SECRET)
        server.answers["broken.jpg"] = Answer(503)
        with system.workers():
            names = ["bad.jpg", "broken.jpg", "gone.jpg"]
            ids = [system.submit(url=server.url(name), kind="image").id for name in names]
            system.wait_finished(*ids)
            wait_until(lambda: len(posts(server, "hook")) == 3, 30)
        posted = {request.headers["webhook-id"]: request for request in posts(server, "hook")}
        assert len(posted) == 3
        bodies = "".join(request.body.decode() for request in posted.values())
    assert all(f'"media.{ending}"' in bodies for ending in ("rejected", "failed", "expired"))


def test_workers_of_single_queues_pass_the_attachment_on(system: RunningSystem) -> None:
    with MediaServer({"a.jpg": photo()}) as server, system.workers(queues=("fetch", "detect")):
        receipt = system.submit(url=server.url("a.jpg"))
        wait_until(lambda: system.queue.stats.counts()["validate"]["ready"] == 1, 10)
        with system.workers(queues=("validate", "persist", "notify")):
            [record] = system.wait_finished(receipt.id)
        assert server.hits("a.jpg") == 1
    assert record.status is Status.DONE


def test_hundred_attachments_of_one_content_are_stored_once(system: RunningSystem) -> None:
    with MediaServer({"a.jpg": photo()}) as server, system.workers(processes=2):
        ids = [system.submit(url=server.url("a.jpg")).id for _ in range(100)]
        records = system.wait_finished(*ids)
    assert {record.status for record in records} == {Status.DONE}
    assert len({record.storage_key for record in records}) == 1
    assert len(system.stored_files()) == 1


def test_uploaded_bytes_are_deleted_from_the_intake_when_done(system: RunningSystem) -> None:
    image = photo()
    file = system.folder / "upload.jpg"
    file.write_bytes(image)
    with system.workers():
        receipt = system.hook.accept(system.attachment(), file=file)
        [record] = system.wait_finished(receipt.id)
        wait_until(lambda: len(system.stored_files()) == 1, 5)
    assert record.sha256 == hashlib.sha256(image).hexdigest()
    assert system.stored_files()[0].read_bytes() == image
