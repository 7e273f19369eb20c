"""`POST /media/replay`: selection, dry runs, limits and rate."""

from __future__ import annotations

import time
from collections.abc import Iterator
from typing import Any

import pytest
from fastapi.testclient import TestClient
from pydantic import SecretStr

from esteira.web.api import replays
from pipeline.catalogue.user_tokens import UserToken
from pipeline.models import Record, Status
from pipeline.security.roles import Role
from pipeline.security.scopes import ALL_SESSIONS
from pipeline.security.tokens import TokenSigner
from pipeline.security.user_tokens import new_token
from tests.support.catalogues import finished
from tests.support.system import RunningSystem
from tests.support.web import TOKEN, app_client


@pytest.fixture
def client(system: RunningSystem, monkeypatch: pytest.MonkeyPatch) -> Iterator[TestClient]:
    with app_client(system, monkeypatch) as client:
        yield client


def ended(system: RunningSystem, status: Status = Status.FAILED, session: str = "shop", **how: Any) -> Record:
    attachment = system.attachment(session=session, url="https://media.example/x", kind="image")
    return finished(system.services.catalogue, status, of=attachment, **how)


def ask(client: TestClient, **body: Any) -> Any:
    answer = client.post("/media/replay", json=body)
    assert answer.status_code == (200 if body.get("dry_run") else 202), answer.text
    return answer.json()


def runs(system: RunningSystem, *records: Record) -> list[int]:
    return [system.record(record.id).run for record in records]


def test_dry_run_only_counts(system: RunningSystem, client: TestClient) -> None:
    failed = [ended(system) for _ in range(3)]
    ended(system, Status.EXPIRED)
    told = ask(client, dry_run=True, limit=2)
    assert (told["matched"], told["replayed"], told["missed"]) == (3, 2, [])
    again = ask(client, dry_run=True, limit=2, next=told["next"])
    assert sorted(told["ids"] + again["ids"]) == sorted(record.id for record in failed)
    assert again["next"] is None
    assert runs(system, *failed) == [0, 0, 0]


def test_replay_enqueues_only_matching_attachments(system: RunningSystem, client: TestClient) -> None:
    failed, other, expired = ended(system), ended(system, session="bar"), ended(system, Status.EXPIRED)
    done = ended(system, Status.DONE)
    assert ask(client, session="shop") == {"matched": 1, "replayed": 1, "missed": [], "next": None}
    assert runs(system, failed, other, expired, done) == [1, 0, 0, 0]
    assert system.queue.stats.counts()["fetch"]["ready"] == 1
    assert ask(client, status="expired")["replayed"] == 1
    assert ask(client, error="fetch_unavailable", since="1h", kind="image")["replayed"] == 1
    assert runs(system, failed, other, expired, done) == [1, 1, 1, 0]
    assert ask(client, error="fetch_unavailable")["matched"] == 0


def test_replay_continues_with_next_after_its_limit(system: RunningSystem, client: TestClient) -> None:
    failed = [ended(system) for _ in range(5)]
    first = ask(client, limit=3)
    assert (first["matched"], first["replayed"]) == (5, 3)
    assert sum(runs(system, *failed)) == 3
    second = ask(client, limit=3, next=first["next"])
    assert (second["matched"], second["replayed"], second["next"]) == (2, 2, None)
    assert runs(system, *failed) == [1] * 5


def test_replay_keeps_its_rate_and_time_limit(
    system: RunningSystem, client: TestClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    failed = [ended(system) for _ in range(6)]
    monkeypatch.setattr(replays, "TIME_LIMIT_S", 0.5)
    began = time.monotonic()
    told = ask(client, rate=5)
    assert time.monotonic() - began >= 0.2
    assert 1 <= told["replayed"] <= 3
    assert sum(runs(system, *failed)) == told["replayed"]
    assert told["next"]
    monkeypatch.setattr(replays, "TIME_LIMIT_S", 20.0)
    assert ask(client, next=told["next"])["replayed"] == 6 - told["replayed"]


def test_replay_reports_attachments_replayed_meanwhile_as_missed(
    system: RunningSystem, client: TestClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    first, second = ended(system), ended(system)
    send = replays.replay_without_waiting

    def faster(media_id: str) -> Record:
        system.services.catalogue.reopen(first.id)
        return send(media_id)

    monkeypatch.setattr(replays, "replay_without_waiting", faster)
    assert ask(client) == {"matched": 2, "replayed": 1, "missed": [first.id], "next": None}
    assert runs(system, first, second) == [1, 1]


@pytest.mark.parametrize(
    ("body", "named"),
    [
        (b'{"sesion": "a"}', "sesion"),
        (b'{"session": ""}', "empty"),
        (b'{"status": "done"}', "status"),
        (b'{"status": "x"}', "status"),
        (b'{"dry_run": "false"}', "dry_run"),
        (b'{"limit": 1001}', "limit"),
        (b'{"limit": 0}', "limit"),
        (b'{"limit": true}', "limit"),
        (b'{"rate": 0}', "rate"),
        (b'{"rate": "5"}', "rate"),
        (b'{"next": "x"}', "next"),
        (b'{"since": "yesterday"}', "since"),
        (b"[]", "object"),
        (b"{", "JSON"),
    ],
)
def test_replay_refuses_a_wrong_body_and_names_the_field(
    system: RunningSystem, client: TestClient, body: bytes, named: str
) -> None:
    failed = ended(system)
    answer = client.post("/media/replay", content=body)
    assert (answer.status_code, answer.json()["error"]["code"]) == (400, "bad_payload")
    assert named in answer.json()["error"]["message"]
    assert runs(system, failed) == [0]


def test_second_concurrent_replay_of_one_caller_answers_429(
    system: RunningSystem, client: TestClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    ended(system)
    ended(system)
    told: list[int] = []

    def meanwhile(media_id: str) -> None:
        told.append(client.post("/media/replay", json={}).status_code)
        told.append(client.post("/media/replay", json={"dry_run": True}).status_code)

        new = new_token()
        user = UserToken(new.id, "ana", Role.OPERATOR, ALL_SESSIONS, new.secret_hash, 1)
        system.services.catalogue.user_tokens.add(user)
        others = {"Authorization": f"Bearer {new.text}"}
        monkeypatch.setattr(replays, "replay_without_waiting", lambda _: None)
        told.append(client.post("/media/replay", json={}, headers=others).status_code)

    monkeypatch.setattr(replays, "replay_without_waiting", meanwhile)
    ask(client, limit=1)
    assert told == [429, 200, 202]
    monkeypatch.setattr(replays, "replay_without_waiting", lambda _: None)
    ask(client)


def test_replay_of_many_needs_the_api_token(system: RunningSystem, client: TestClient) -> None:
    failed = ended(system)
    session = TokenSigner(SecretStr(TOKEN)).session_token("shop", gateway="media", days=1)
    wrong = (401, "unauthorized")
    for shown, refusal in (("", wrong), ("Bearer wrong", wrong), (f"Bearer {session}", (403, "forbidden"))):
        answer = client.post("/media/replay", json={}, headers={"Authorization": shown})
        assert (answer.status_code, answer.json()["error"]["code"]) == refusal
    assert runs(system, failed) == [0]
