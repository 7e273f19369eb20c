"""`/pause`, `/resume`, `/pauses` and `/media/{id}/cancel`: responses and permissions."""

from __future__ import annotations

import time
from collections.abc import Iterator
from typing import Any

import pytest
from fastapi.testclient import TestClient
from pydantic import SecretStr

from pipeline.security.tokens import TokenSigner
from tests.support.media_server import MediaServer
from tests.support.system import RunningSystem, photo
from tests.support.web import TOKEN, app_client


@pytest.fixture
def client(system: RunningSystem, monkeypatch: pytest.MonkeyPatch) -> Iterator[TestClient]:
    with app_client(system, monkeypatch) as client:
        yield client


def test_pause_and_resume_list_what_is_paused(client: TestClient, system: RunningSystem) -> None:
    answer = client.post("/pause", json={"session": "loja 1"}).json()
    [paused] = answer["pauses"]
    assert answer["changed"]
    assert (paused["kind"], paused["name"]) == ("session", "loja 1")
    assert abs(paused["since"] - time.time() * 1000) < 60_000
    assert not client.post("/pause", json={"session": "loja 1"}).json()["changed"]
    client.post("/pause", json={"stage": "notify"})
    assert [one["name"] for one in client.get("/pauses").json()["pauses"]] == ["notify", "loja 1"]
    assert client.get("/stats").json()["pauses"] == client.get("/pauses").json()["pauses"]
    assert system.queue.client.hexists(system.queue.keys.paused, "session:loja 1")
    assert client.post("/resume", json={"session": "loja 1"}).json()["changed"]
    assert not client.post("/resume", json={"session": "loja 1"}).json()["changed"]
    assert [one["name"] for one in client.get("/pauses").json()["pauses"]] == ["notify"]
    page = client.get("/metrics").text
    assert 'esteira_pauses{kind="stage"} 1' in page
    assert 'esteira_pauses{kind="session"} 0' in page


def test_pause_says_who_paused_and_why(client: TestClient) -> None:
    [paused] = client.post("/pause", json={"session": "shop", "reason": " new\nphone "}).json()["pauses"]
    assert (paused["paused_by"], paused["reason"]) == ("api-token", "new phone")
    [entry] = client.get("/audit", params={"action": "pause"}).json()["audit"]
    assert entry["detail"]["reason"] == " new\nphone "
    answer = client.post("/pause", json={"session": "other", "reason": "x" * 201})
    assert (answer.status_code, answer.json()["error"]["code"]) == (400, "bad_payload")
    assert client.post("/resume", json={"session": "shop", "reason": "x"}).status_code == 400
    assert client.post("/pause", json={"reason": "x"}).status_code == 400


@pytest.mark.parametrize(
    "body",
    [{}, {"stage": "fetsh"}, {"session": ""}, {"stage": "fetch", "session": "a"}, {"host": "a"}, {"session": 5}, [], 7],
)
@pytest.mark.parametrize("path", ["/pause", "/resume"])
def test_pause_refuses_bodies_that_name_no_target(client: TestClient, path: str, body: Any) -> None:
    answer = client.post(path, json=body)
    assert (answer.status_code, answer.json()["error"]["code"]) == (400, "bad_payload")
    assert client.get("/pauses").json() == {"pauses": []}


def test_cancel_ends_a_waiting_attachment_and_refuses_an_ended_one(client: TestClient, system: RunningSystem) -> None:
    with MediaServer({"a.jpg": photo()}) as server:
        waiting, done = (system.submit(url=server.url("a.jpg")).id for _ in range(2))
        answer = client.post(f"/media/{waiting}/cancel")
        assert (answer.status_code, answer.json()["status"]) == (200, "rejected")
        assert answer.json()["error_code"] == "cancelled"
        assert client.post(f"/media/{waiting}/cancel").json() == answer.json()
        with system.workers():
            system.wait_finished(done)
    refused = client.post(f"/media/{done}/cancel")
    assert (refused.status_code, refused.json()["error"]["code"]) == (409, "not_pending")
    assert client.post(f"/media/{'0' * 32}/cancel").status_code == 404
    assert client.post(f"/media/{waiting}/replay").status_code == 202


def test_cancel_of_a_running_attachment_answers_202(client: TestClient, system: RunningSystem) -> None:
    media_id = system.submit(url="http://127.0.0.1:1/").id
    [held] = system.queue.fetch("w", 1, ["fetch"])[1]
    assert held.key == media_id
    system.services.catalogue.claim(media_id, lease_s=60)
    answer = client.post(f"/media/{media_id}/cancel")
    assert (answer.status_code, answer.json()["status"]) == (202, "received")
    assert answer.json()["cancelled_at"] is not None


@pytest.mark.parametrize(
    ("method", "path"),
    [("POST", "/pause"), ("POST", "/resume"), ("POST", "/media/{id}/cancel")],
)
def test_session_token_may_not_control_anything(
    client: TestClient, system: RunningSystem, method: str, path: str
) -> None:
    media_id = system.submit(url="http://127.0.0.1:1/", session="shop").id
    token = TokenSigner(SecretStr(TOKEN)).session_token("shop", gateway="media", days=1)
    body = {"session": "shop"} if path in {"/pause", "/resume"} else None
    for shown, status in ((token, 403), ("wrong", 401)):
        headers = {"Authorization": f"Bearer {shown}"}
        answer = client.request(method, path.format(id=media_id), json=body, headers=headers)
        assert answer.status_code == status
    assert system.record(media_id).cancelled_at is None
    assert system.services.catalogue.pauses.all() == []
