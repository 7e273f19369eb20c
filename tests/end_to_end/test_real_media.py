"""Real media through all stages: stored once and unchanged, retried on schedule, replayed, kept in the job history."""

from __future__ import annotations

import hashlib
import time
from collections.abc import Iterator
from itertools import pairwise

import pytest

from actors.redis_queue.keys import Keys
from esteira.cli.demo import pictures, recordings
from tests.support.esteira import Installation, new_installation, start_esteira, write_jsonl
from tests.support.media_server import Answer, MediaServer
from tests.support.valkey import ValkeyServer, running_valkey
from tests.support.waiting import wait_until
from tests.support.whatsapp_media import encrypt


class TimedServer(MediaServer):
    """Records the time of each request."""

    def __init__(self) -> None:
        super().__init__()
        self.times: list[float] = []

    def answer_for(self, name: str) -> Answer | None:
        self.times.append(time.monotonic())
        return super().answer_for(name)


MAKERS = (
    [(pictures.jpeg, "image", "image/jpeg")] * 45
    + [(lambda: recordings.sound("ogg", "libopus"), "ptt", "audio/ogg; codecs=opus")] * 30
    + [(pictures.sticker, "sticker", "image/webp")] * 15
    + [(pictures.pdf, "document", "application/pdf")] * 8
    + [(lambda: recordings.video("mp4", "libx264"), "video", "video/mp4")] * 2
)


def test_a_hundred_files_are_stored_once_and_unchanged(running: Installation, media: MediaServer) -> None:
    rows = []
    for number, (make, kind, mimetype) in enumerate(MAKERS):
        media.files[f"file{number}"] = make()
        url = media.url(f"file{number}")
        rows.append(
            {"session": f"s{number % 20}", "message_id": f"m{number}", "url": url, "kind": kind, "mimetype": mimetype}
        )
    load = write_jsonl(running.folder / "load.jsonl", rows)
    finished = running.run("submit", "--jsonl", load, "--wait", "--json", timeout=100)
    assert finished.code == 0, finished.err
    records = {record["message_id"]: record for record in finished.lines}
    assert len(records) == 100
    assert "100 done" in finished.err
    for row in rows:
        record = records[row["message_id"]]
        source = media.files[f"file{row['message_id'][1:]}"]
        assert record["sha256"] == hashlib.sha256(source).hexdigest()
        assert (running.folder / "media" / record["storage_key"]).read_bytes() == source
        assert record["kind"] == row["kind"]
    stored = {record["storage_key"] for record in records.values()}
    assert len(stored) == 100
    kept = [path for path in running.stored_files() if str(path.relative_to(running.folder / "media")) in stored]
    assert len(kept) == 100
    wait_until(lambda: not list((running.folder / "staging").glob("*")))  # a preview job may still use its copy


def test_encrypted_file_is_stored_decrypted(running: Installation, media: MediaServer) -> None:
    content = pictures.jpeg()
    encrypted = encrypt(content)
    media.files["encrypted"] = encrypted.data
    row = {
        "session": "encrypted",
        "message_id": "m",
        "url": media.url("encrypted"),
        "kind": "image",
        **encrypted.fields(),
    }
    load = write_jsonl(running.folder / "encrypted.jsonl", [row])
    finished = running.run("submit", "--jsonl", load, "--wait", "--json")
    [record] = finished.lines
    assert record["status"] == "done", record
    assert (running.folder / "media" / record["storage_key"]).read_bytes() == content


def test_local_files_and_urls_are_both_stored(running: Installation, media: MediaServer) -> None:
    local = running.folder / "holiday.jpg"
    local.write_bytes(media.files.setdefault("remote.png", pictures.png())[:0] + pictures.jpeg())
    finished = running.run("submit", local, media.url("remote.png"), "--session", "both", "--wait", "--json")
    assert finished.code == 0, finished.err
    assert {record["mime"] for record in finished.lines} == {"image/jpeg", "image/png"}
    local_record = next(record for record in finished.lines if record["mime"] == "image/jpeg")
    assert local_record["filename"] == "holiday.jpg"
    assert not (running.folder / "media" / "intake" / local_record["id"]).exists()


def test_wait_reports_rejected_and_expired_attachments(running: Installation, media: MediaServer) -> None:
    media.files["page.jpg"] = b"<!doctype html><html><body>Sign in</body></html>"
    finished = running.run("submit", media.url("page.jpg"), media.url("gone.jpg"), "--kind", "image", "--wait")
    assert finished.code == 1
    assert "rejected  type_not_allowed" in finished.out
    assert "expired  source_gone" in finished.out
    assert "1 rejected" in finished.err
    assert "1 expired" in finished.err


@pytest.mark.slow
def test_failing_download_is_tried_three_times_and_replayed(running: Installation) -> None:
    with TimedServer() as media:
        media.files["photo.jpg"] = pictures.jpeg()
        media.answers["photo.jpg"] = Answer(500)
        finished = running.run("submit", media.url("photo.jpg"), "--session", "trouble", "--wait", "--json")
        assert finished.code == 1
        [record] = finished.lines
        assert (record["status"], record["stage"], record["attempts"]) == ("failed", "fetch", 3)
        assert record["error_code"] == "fetch_unavailable"
        pauses = [later - earlier for earlier, later in pairwise(media.times)]
        assert pauses == [pytest.approx(2.0, abs=0.5), pytest.approx(4.0, abs=0.5)]

        filters = ("--status", "failed", "--session", "trouble")
        assert [row["id"] for row in running.run("list", *filters, "--json").json] == [record["id"]]
        del media.answers["photo.jpg"]
        assert running.run("replay", *filters, "--yes").code == 0
        again = running.run("submit", media.url("photo.jpg"), "--session", "trouble", "--wait", "--json")
        assert again.code == 0  # the queue is in order: the replayed attachment ran before this one
        record = running.run("status", record["id"], "--json").json
        assert (record["status"], record["run"]) == ("done", 1)


@pytest.fixture
def without_retries() -> Iterator[tuple[Installation, ValkeyServer]]:
    """A running Esteira with a Valkey of its own and one attempt per stage."""
    with (
        running_valkey() as server,
        new_installation(REDIS_URL=server.url, MEDIA_ATTEMPTS="1") as installation,
        start_esteira(installation, "--no-web"),
    ):
        yield installation, server


@pytest.mark.slow
def test_job_history_keeps_100_completed_and_50_failed_and_all_failed_can_be_replayed(
    without_retries: tuple[Installation, ValkeyServer], media: MediaServer
) -> None:
    installation, server = without_retries
    media.files |= {f"good{number}": pictures.jpeg() for number in range(150)}
    media.answers |= {f"bad{number}": Answer(500) for number in range(80)}
    names = [f"good{number}" for number in range(150)] + [f"bad{number}" for number in range(80)]
    rows = [{"session": "s", "message_id": name, "url": media.url(name), "kind": "image"} for name in names]
    finished = installation.run(
        "submit", "--jsonl", write_jsonl(installation.folder / "load.jsonl", rows), "--wait", timeout=100
    )
    assert "150 done, 80 failed" in finished.err, finished.err
    assert job_history(server) == (100, 50)

    media.answers.clear()
    media.files |= {f"bad{number}": pictures.jpeg() for number in range(80)}
    replayed = installation.run("replay", "--status", "failed", "--yes", "--json").json
    assert replayed == {"matched": 80, "replayed": 80, "missed": []}
    again = installation.run("submit", "--jsonl", installation.folder / "load.jsonl", "--wait", timeout=100)
    assert again.code == 0
    assert "230 done" in again.err
    assert job_history(server)[0] == 100
    assert installation.run("stats", "--json").json["totals"]["done"] == 230


def job_history(server: ValkeyServer) -> tuple[int, int]:
    """The numbers of completed and failed jobs that Redis keeps."""
    client, keys = server.client(), Keys()
    return tuple(client.zcard(keys.finished_index(name)) for name in ("completed", "failed"))
