"""`GET /media/{id}` returns the history, without workers for a session; the list does not."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from pydantic import SecretStr

from actors.execution.inline import run_inline
from pipeline.security.tokens import TokenSigner
from tests.support.media_server import MediaServer
from tests.support.system import RunningSystem, photo
from tests.support.web import TOKEN, app_client


@pytest.fixture
def client(system: RunningSystem, monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    with app_client(system, monkeypatch) as client:
        yield client


@pytest.fixture
def done(system: RunningSystem) -> str:
    with MediaServer({"a.jpg": photo()}) as server:
        media_id = system.submit(session="shop", url=server.url("a.jpg"), kind="image").id
        run_inline(system.services, media_id)
    return media_id


def test_single_attachment_has_a_history_and_the_list_has_not(client: Any, done: str) -> None:
    found = client.get(f"/media/{done}").json()["history"]
    assert [entry["stage"] for entry in found] == ["fetch", "detect", "validate", "persist", "notify"]
    assert {entry["outcome"] for entry in found} == {"done"}
    assert set(found[0]) == {"run", "stage", "attempt", "at", "ms", "outcome", "code", "message", "worker"}
    assert found[0]["worker"]
    assert "history" not in client.get("/media").json()["media"][0]


def test_session_token_sees_no_worker_in_the_history(client: Any, done: str) -> None:
    token = TokenSigner(SecretStr(TOKEN)).session_token("shop", gateway="media", days=1)
    found = client.get(f"/media/{done}", headers={"Authorization": f"Bearer {token}"}).json()["history"]
    assert len(found) == 5
    assert all("worker" not in entry for entry in found)


def test_deleted_attachment_has_no_history(client: Any, done: str) -> None:
    assert client.delete(f"/media/{done}").status_code == 200
    assert client.get(f"/media/{done}").json()["history"] == []
