"""`POST /media/{id}/replay` with a real catalogue, Valkey and workers."""

from __future__ import annotations

import base64
import hashlib
import json
import sqlite3
import threading
from collections.abc import Callable, Iterator
from contextlib import closing
from typing import Any

import pytest
from fastapi.testclient import TestClient

from actors.redis_queue.messages import AckAction
from pipeline.models import Record, Status
from tests.support.catalogues import claimed, failure, finished, mark_stored, stored
from tests.support.gateway_servers import WhatsAppServer
from tests.support.media_server import MediaServer
from tests.support.system import RunningSystem, photo
from tests.support.valkey import ValkeyServer
from tests.support.waiting import wait_until
from tests.support.web import TOKEN, app_client
from tests.support.whatsapp_media import encrypt

SECRET = "whsec_" + base64.b64encode(bytes(24)).decode()
OLD = "/v/t62.7118-24/old.enc?ccb=11-4&oh=s1gnature&oe=65A0B0C0"
NEW = "/v/t62.7118-24/new.enc?ccb=11-4&oh=s1gnature&oe=7FFFFFFF"


@pytest.fixture
def whatsapp() -> Iterator[WhatsAppServer]:
    with WhatsAppServer() as server:
        yield server


@pytest.fixture
def sink() -> Iterator[MediaServer]:
    with MediaServer() as server:
        yield server


@pytest.fixture
def system(
    make_system: Callable[..., RunningSystem], whatsapp: WhatsAppServer, sink: MediaServer, tmp_path: Any
) -> RunningSystem:
    env = {name.lower(): value for name, value in whatsapp.env(tmp_path).items()}
    return make_system(media_backoff_ms="50", webhook_url=sink.url("events"), webhook_secret=SECRET, **env)


@pytest.fixture
def client(system: RunningSystem, monkeypatch: pytest.MonkeyPatch) -> Iterator[TestClient]:
    with app_client(system, monkeypatch) as client:
        yield client


@pytest.fixture
def expired(system: RunningSystem) -> Record:
    """An attachment as a gateway declared it, whose source is gone."""
    sealed = encrypt(photo())
    attachment = system.attachment(
        gateway="evolution", chat="551199@s.whatsapp.net", kind="image", direct_path=OLD, **sealed.fields()
    )
    return finished(system.services.catalogue, Status.EXPIRED, of=attachment)


def events(sink: MediaServer) -> list[dict[str, Any]]:
    return [json.loads(request.body) for request in sink.requests]


def stored_bytes(system: RunningSystem, record: Record) -> bytes:
    assert record.storage_key, record
    return b"".join(system.services.storage.chunks(record.storage_key))


@pytest.fixture
def make_linking_system(make_system: Callable[..., RunningSystem], sink: MediaServer) -> Callable[..., RunningSystem]:
    def make(**env: str) -> RunningSystem:
        return make_system(webhook_url=sink.url("events"), webhook_secret=SECRET, api_token=TOKEN, **env)

    return make


def test_the_url_of_an_event_opens_the_content_without_a_token(
    make_linking_system: Callable[..., RunningSystem], sink: MediaServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    system, image = make_linking_system(public_url="https://media.example/esteira"), photo()
    with MediaServer({"a.jpg": image}) as media, system.workers() as workers:
        system.wait_finished(system.submit(url=media.url("a.jpg"), kind="image").id)
        wait_until(lambda: events(sink), 20)
    [event] = events(sink)
    assert event["url"].startswith("https://media.example/esteira/media/")
    path = event["url"].removeprefix("https://media.example/esteira")
    with app_client(system, monkeypatch) as client:
        client.headers.pop("authorization")
        assert client.get(path).content == image
        assert client.get(path.replace("signature=", "signature=0")).status_code == 401
    assert "signature=" not in workers.log.read_text()


def test_replay_with_a_new_path_finishes_an_expired_attachment(
    system: RunningSystem, client: TestClient, whatsapp: WhatsAppServer, sink: MediaServer
) -> None:
    image = photo()
    sealed = encrypt(image)
    whatsapp.lost.add(OLD.partition("?")[0])
    with system.workers():
        media_id = system.submit(chat="551199@s.whatsapp.net", kind="image", direct_path=OLD, **sealed.fields()).id
        [record] = system.wait_finished(media_id)
        assert (record.status, record.error_code) == ("expired", "source_gone")
        wait_until(lambda: events(sink), 20)
        [event] = events(sink)
        assert event["type"] == "media.expired"
        fingerprint = hashlib.sha256(base64.b64decode(sealed.media_key)).hexdigest()[:16]
        assert event["source"] == {
            "chat": "551199@s.whatsapp.net",
            "message_id": record.message_id,
            "direct_path": "/v/t62.7118-24/old.enc",
            "key_fingerprint": fingerprint,
        }
        assert sealed.media_key not in json.dumps(event)

        whatsapp.hold(NEW, sealed.data)
        answer = client.post(f"/media/{event['id']}/replay", json={"direct_path": NEW})
        assert (answer.status_code, answer.json()) == (202, {"id": media_id, "status": "received", "stage": "fetch"})
        [record] = system.wait_finished(media_id)
        wait_until(lambda: len(events(sink)) == 2, 20)
    assert (record.status, record.run) == ("done", 1)
    assert stored_bytes(system, record) == image
    assert [event["type"] for event in events(sink)] == ["media.expired", "media.done"]
    assert "source" not in events(sink)[1]


def test_replay_accepts_the_bytes_themselves(system: RunningSystem, client: TestClient, expired: Record) -> None:
    image = photo()
    given = {"data": base64.b64encode(image).decode(), "file_sha256": None}
    assert client.post(f"/media/{expired.id}/replay", json=given).status_code == 202
    assert b"".join(system.services.storage.chunks(f"intake/{expired.id}")) == image
    with system.workers():
        [record] = system.wait_finished(expired.id)
    assert (record.status, stored_bytes(system, record)) == ("done", image)


def test_replay_refuses_a_file_with_another_hash(system: RunningSystem, client: TestClient, expired: Record) -> None:
    given = {"data": base64.b64encode(photo()).decode()}
    assert client.post(f"/media/{expired.id}/replay", json=given).status_code == 202
    with system.workers():
        [record] = system.wait_finished(expired.id)
    assert (record.status, record.error_code) == ("rejected", "hash_mismatch")


def test_replay_decrypts_with_a_new_key(system: RunningSystem, client: TestClient, whatsapp: WhatsAppServer) -> None:
    image = photo()
    sealed = encrypt(image, key=b"k" * 32)
    whatsapp.hold(OLD, sealed.data)
    wrong = {**sealed.fields(), "media_key": bytes(32).hex()}
    with system.workers():
        media_id = system.submit(kind="image", direct_path=OLD, **wrong).id
        assert system.wait_finished(media_id)[0].error_code == "decrypt_mac"
        given = {"media_key": list(b"k" * 32), "file_enc_sha256": sealed.file_enc_sha256}
        assert client.post(f"/media/{media_id}/replay", json=given).status_code == 202
        [record] = system.wait_finished(media_id)
    assert (record.status, stored_bytes(system, record)) == ("done", image)


def test_replay_without_a_source_fetches_the_old_one(
    system: RunningSystem, client: TestClient, whatsapp: WhatsAppServer
) -> None:
    sealed = encrypt(photo())
    whatsapp.lost.add(OLD.partition("?")[0])
    with system.workers():
        media_id = system.submit(kind="image", direct_path=OLD, **sealed.fields()).id
        assert system.wait_finished(media_id)[0].status == "expired"
        whatsapp.lost.clear()
        whatsapp.hold(OLD, sealed.data)
        assert client.post(f"/media/{media_id}/replay").status_code == 202
        assert system.wait_finished(media_id)[0].status == "done"


@pytest.mark.parametrize("body", [b"", b" \n", b"{}", b"null"])
def test_replay_with_an_empty_body_keeps_the_source(
    system: RunningSystem, client: TestClient, expired: Record, body: bytes
) -> None:
    before = kept_payload(system, expired.id)
    assert client.post(f"/media/{expired.id}/replay", content=body).status_code == 202
    assert system.record(expired.id).run == 1
    assert kept_payload(system, expired.id) == before


def kept_payload(system: RunningSystem, media_id: str) -> Any:
    with closing(sqlite3.connect(system.folder / "esteira.db")) as catalogue:
        return json.loads(*catalogue.execute("SELECT payload FROM media WHERE id = ?", (media_id,)).fetchone())


def test_replay_continues_at_the_failed_stage(system: RunningSystem, client: TestClient) -> None:
    catalogue = system.services.catalogue
    claim = claimed(catalogue, catalogue.accept(system.attachment(url="https://media.example/x")).id)
    mark_stored(catalogue, claim, stored())
    catalogue.mark_failed(claim, failure(stage="notify", code="notify"))
    catalogue.finish(claim, announced=False)
    answer = client.post(f"/media/{claim.id}/replay")
    assert answer.json() == {"id": claim.id, "status": "stored", "stage": "notify"}


def refusal(client: TestClient, media_id: str, **request: Any) -> tuple[int, str, str]:
    answer = client.post(f"/media/{media_id}/replay", **request)
    return answer.status_code, answer.json()["error"]["code"], answer.json()["error"]["message"]


@pytest.mark.parametrize("media_id", ["f" * 32, "no-id", "%00", "..%2f..", "' OR 1=1 --"])
def test_replay_of_an_unknown_id_answers_404(client: TestClient, media_id: str) -> None:
    assert refusal(client, media_id)[:2] in {(404, "not_found")}


def test_replay_of_a_running_or_done_attachment_answers_409(system: RunningSystem, client: TestClient) -> None:
    catalogue = system.services.catalogue
    waiting = system.submit(url="https://media.example/x").id
    done = finished(catalogue).id
    held = claimed(catalogue, catalogue.accept(system.attachment(url="https://media.example/x")).id)
    catalogue.mark_failed(held, failure(Status.EXPIRED))  # not announced yet
    given = {"json": {"data": base64.b64encode(b"other bytes").decode()}}
    for media_id in (waiting, done, held.id):
        before = system.record(media_id)
        for request in ({}, given):
            assert refusal(client, media_id, **request)[:2] == (409, "not_ended")
        assert system.record(media_id) == before
    assert system.stored_files() == []


def test_replay_waits_until_the_announcement_is_recorded(system: RunningSystem, client: TestClient) -> None:
    catalogue = system.services.catalogue
    claim = claimed(catalogue, catalogue.accept(system.attachment(url="https://media.example/x")).id)
    catalogue.mark_failed(claim, failure(Status.EXPIRED))
    late = threading.Timer(0.3, catalogue.finish, (claim,), {"announced": True})
    late.start()
    answer = client.post(f"/media/{claim.id}/replay", json={"url": "https://media.example/new"})
    late.join()
    assert (answer.status_code, answer.json()["status"]) == (202, "received")


def test_replay_waits_until_the_worker_acknowledged_the_message(system: RunningSystem, client: TestClient) -> None:
    receipt = system.submit(url="https://media.example/x")
    _, [handed], _ = system.queue.fetch("w1", 1, ["fetch"])
    claim = claimed(system.services.catalogue, receipt.id)
    system.services.catalogue.mark_failed(claim, failure(Status.EXPIRED))
    system.services.catalogue.finish(claim, announced=True)
    late = threading.Timer(0.3, system.queue.ack, ("w1", handed.key, handed.delivery_id, AckAction("done", "fetch")))
    late.start()
    assert client.post(f"/media/{receipt.id}/replay").status_code == 202
    late.join()
    assert system.queue.stats.counts()["fetch"]["ready"] == 1


@pytest.mark.parametrize(
    ("body", "named"),
    [
        (b'{"url": "ftp://x/y"}', "url"),
        (b'{"direct_path": "relative"}', "direct_path"),
        (b'{"media_key": "short"}', "media_key"),
        (b'{"data": "%%%"}', "data"),
        (b'{"file_sha256": "ab"}', "file_sha256"),
        (b'{"size": -5}', "size"),
        (b'{"uri": "https://x/y"}', "url"),
        (b'["https://x/y"]', "object"),
        (b"{", "JSON"),
        (b"\xff\xfe", "JSON"),
    ],
)
def test_replay_refuses_a_wrong_body_and_names_the_field(
    system: RunningSystem, client: TestClient, expired: Record, body: bytes, named: str
) -> None:
    status, code, message = refusal(client, expired.id, content=body)
    assert (status, code) == (400, "bad_payload")
    assert named in message
    assert system.record(expired.id) == expired


def test_replay_needs_the_api_token(system: RunningSystem, client: TestClient, expired: Record) -> None:
    for shown in ("", "Bearer", "Bearer wrong", f"Basic {client.headers['authorization'][7:]}"):
        assert refusal(client, expired.id, headers={"Authorization": shown})[:2] == (401, "unauthorized")
    assert system.record(expired.id) == expired


def test_replay_without_redis_is_enqueued_by_the_requeue_scan(
    make_system: Callable[..., RunningSystem], own_valkey: ValkeyServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    system = make_system(redis_url=own_valkey.url)
    expired = finished(system.services.catalogue, Status.EXPIRED, of=system.attachment(url="https://media.example/x"))
    with app_client(system, monkeypatch) as client:
        own_valkey.kill()
        answer = client.post(f"/media/{expired.id}/replay", json={"url": "https://media.example/new"})
        assert (answer.status_code, answer.json()["status"]) == (202, "received")
        own_valkey.start()
    assert system.record(expired.id).status is Status.RECEIVED
    assert system.sweep() == 1


def test_replay_without_the_catalogue_answers_503(system: RunningSystem, client: TestClient, expired: Record) -> None:
    system.services.close()
    (system.folder / "esteira.db").rename(system.folder / "elsewhere.db")
    (system.folder / "esteira.db").mkdir()
    answer = client.post(f"/media/{expired.id}/replay")
    assert answer.status_code == 503
    assert int(answer.headers["retry-after"]) > 0
    assert answer.json()["error"]["code"] == "catalogue"
