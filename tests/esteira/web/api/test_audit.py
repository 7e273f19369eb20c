"""The audit log of the HTTP API, and `GET /audit`.

The routes are read from the app, so a new one that changes something and is not recorded fails here.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any, NamedTuple

import pytest
from fastapi.routing import iter_route_contexts
from fastapi.testclient import TestClient
from pydantic import SecretStr

from actors.operations import audit
from actors.operations.audit import MAX_REFUSALS, RefusalLimit
from pipeline.catalogue import Action, Actor, AuditFilters, AuditRecord, DeliveryResult, Via
from pipeline.errors import Code, RetryableError
from pipeline.models import Status
from pipeline.security.tokens import TokenSigner
from pipeline.services import services
from tests.support.catalogues import finished
from tests.support.system import RunningSystem
from tests.support.web import TOKEN, app_client, app_routes
from tests.support.webhooks import announced_record, endpoints

UNKNOWN = "0" * 32
READING_METHODS = {"get", "head", "options"}
# Every attachment that is accepted has a row of its own in the catalogue, with its gateway and its time.
NOT_RECORDED = {("post", "/hooks/{gateway}"), ("post", "/hooks/{gateway}/{secret}")}


class Change(NamedTuple):
    """A call that changes something: its body, and what its entry has."""

    body: Any
    action: Action
    count: int
    target: dict[str, Any]


CHANGES: dict[tuple[str, str], Change] = {
    ("post", "/pause"): Change({"session": "shop"}, Action.PAUSE, 1, {"session": "shop"}),
    ("post", "/resume"): Change({"session": "shop"}, Action.RESUME, 0, {"session": "shop"}),
    ("post", "/media/{media_id}/cancel"): Change(None, Action.CANCEL, 1, {"id": "ID"}),
    ("delete", "/media/{media_id}"): Change(None, Action.DELETE, 1, {"id": "ID"}),
    ("post", "/media/{media_id}/link"): Change({"seconds": 60}, Action.LINK, 1, {"id": "ID", "seconds": 60}),
    ("post", "/media/{media_id}/replay"): Change(None, Action.REPLAY, 1, {"id": "ID"}),
    ("post", "/media/replay"): Change({"session": "mall"}, Action.REPLAY, 2, {"session": "mall", "limit": 100}),
    ("post", "/webhooks/redeliver"): Change({"endpoint": "crm"}, Action.REDELIVER, 1, {"endpoint": "crm"}),
}


@pytest.fixture
def client(system: RunningSystem, monkeypatch: pytest.MonkeyPatch) -> Iterator[TestClient]:
    system.env["WEBHOOK_ENDPOINTS"] = endpoints({"name": "crm", "url": "http://127.0.0.1:9/hook"})
    monkeypatch.setattr(audit, "_refusals", RefusalLimit())
    with app_client(system, monkeypatch) as client:
        yield client


def entries(system: RunningSystem, **filters: Any) -> list[AuditRecord]:
    return system.services.catalogue.audit.find(AuditFilters(**filters), limit=1000)


def prepared(system: RunningSystem, path: str) -> str:
    """The id of an attachment that the call can change."""
    catalogue = system.services.catalogue
    for _ in range(2):
        finished(catalogue, Status.FAILED, of=system.attachment(session="mall", url="https://media.example/x"))
    announced_record(catalogue, "crm")
    [attempt] = catalogue.deliveries.record_and_claim("crm", [], want=1, lease_s=40).attempts
    catalogue.deliveries.record_and_claim("crm", [DeliveryResult(attempt, "answered 500")], want=0, lease_s=40)
    if path.endswith("/cancel"):
        return catalogue.accept(system.attachment(url="https://media.example/x")).id
    return finished(catalogue, Status.FAILED, of=system.attachment(url="https://media.example/x")).id


def call(client: TestClient, method: str, path: str, media_id: str, body: Any, **headers: str) -> Any:
    content = None if body is None else json.dumps(body).encode()
    return client.request(method, path.replace("{media_id}", media_id), content=content, headers=headers)


def test_every_changing_route_is_recorded(client: TestClient) -> None:
    changing = {(route.method, route.path) for route in app_routes(client.app) if route.method not in READING_METHODS}
    assert changing - NOT_RECORDED == set(CHANGES)
    for route in iter_route_contexts(client.app.routes):  # type: ignore[attr-defined]
        for method in getattr(route, "methods", None) or ():
            change = CHANGES.get((method.lower(), route.path))
            action = getattr(getattr(route, "endpoint", None), "audited_action", None)
            assert action == (change and change.action), (method, route.path)


@pytest.mark.parametrize("key", CHANGES, ids=" ".join)
def test_each_change_leaves_one_entry(client: TestClient, system: RunningSystem, key: tuple[str, str]) -> None:
    change = CHANGES[key]
    media_id = prepared(system, key[1])
    answer = call(client, *key, media_id, change.body)
    assert answer.status_code in {200, 201, 202}, answer.text
    [entry] = entries(system)
    assert (entry.who, entry.role, entry.token_id) == ("api-token", "admin", None)
    assert (entry.via, entry.source) == ("api", "testclient")
    assert (entry.action, entry.outcome, entry.count) == (change.action, "done", change.count)
    assert entry.target == {name: media_id if value == "ID" else value for name, value in change.target.items()}
    assert entry.ended_at is not None


@pytest.mark.parametrize("key", CHANGES, ids=" ".join)
def test_nothing_is_changed_if_the_entry_cannot_be_written(
    client: TestClient, system: RunningSystem, key: tuple[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: object) -> str:
        raise RetryableError(Code.CATALOGUE, "the disk is full")

    media_id = prepared(system, key[1])
    before = system.record(media_id)
    monkeypatch.setattr(services().catalogue.audit, "begin", refuse)
    answer = call(client, *key, media_id, CHANGES[key].body)
    assert (answer.status_code, answer.json()["error"]["code"]) == (503, "catalogue")
    assert "signature" not in answer.text
    assert system.record(media_id) == before
    assert client.get("/pauses").json() == {"pauses": []}


@pytest.mark.parametrize("key", [key for key in CHANGES if not key[1].endswith("/link")], ids=" ".join)
def test_each_refused_attempt_leaves_one_entry(client: TestClient, system: RunningSystem, key: tuple[str, str]) -> None:
    token = TokenSigner(SecretStr(TOKEN)).session_token("shop", gateway="media", days=1)
    answer = call(client, *key, UNKNOWN, CHANGES[key].body, authorization=f"Bearer {token}")
    assert answer.status_code == 403
    [entry] = entries(system)
    assert (entry.action, entry.outcome, entry.count) == (CHANGES[key].action, "refused", 0)
    assert (entry.who, entry.role) == ("session-token", "viewer")
    named = CHANGES[key].body if key[1] in {"/pause", "/resume"} else {}
    assert entry.target == ({"id": UNKNOWN} if "{media_id}" in key[1] else named)
    assert token not in json.dumps(entry.model_dump())


@pytest.mark.parametrize("body", [b"", b"{", b'{"session": 1}', b'{"session": "' + b"x" * 70_000 + b'"}'])
def test_refused_attempt_with_a_wrong_body_leaves_an_entry_too(
    client: TestClient, system: RunningSystem, body: bytes
) -> None:
    token = TokenSigner(SecretStr(TOKEN)).session_token("shop", gateway="media", days=1)
    assert client.post("/pause", content=body, headers={"authorization": f"Bearer {token}"}).status_code == 403
    [entry] = entries(system)
    assert (entry.action, entry.outcome, entry.target) == (Action.PAUSE, "refused", {})


def test_refused_attempts_cannot_fill_the_database(client: TestClient, system: RunningSystem) -> None:
    token = TokenSigner(SecretStr(TOKEN)).session_token("shop", gateway="media", days=1)
    for _ in range(MAX_REFUSALS + 5):
        assert client.post("/pause", json={}, headers={"authorization": f"Bearer {token}"}).status_code == 403
    assert len(entries(system)) == MAX_REFUSALS


def test_requests_without_a_token_reads_and_dry_runs_leave_no_entry(client: TestClient, system: RunningSystem) -> None:
    prepared(system, "")
    assert client.post("/pause", json={"session": "shop"}, headers={"authorization": "Bearer no"}).status_code == 401
    assert client.post("/media/replay", json={"dry_run": True}).status_code == 200
    assert client.post("/webhooks/redeliver", json={"dry_run": True}).status_code == 200
    assert client.post("/pause", json={"sesion": "typo"}).status_code == 400
    assert client.get("/media").status_code == client.get("/audit").status_code == 200
    assert entries(system) == []


def test_failed_change_has_its_code(client: TestClient, system: RunningSystem) -> None:
    assert client.delete(f"/media/{UNKNOWN}").status_code == 404
    [entry] = entries(system)
    assert (entry.outcome, entry.count, entry.target) == ("failed", 0, {"id": UNKNOWN})
    assert entry.detail == {"error": "not_found"}


def test_new_source_and_link_are_recorded_without_their_secrets(client: TestClient, system: RunningSystem) -> None:
    media_id = prepared(system, "")
    url = client.post(f"/media/{media_id}/link", json={"seconds": 60}).json()["url"]
    source = {"url": "https://media.example/hush?sig=hush", "media_key": "QUFBQUFBQUFBQUFBQUFBQUFBQUFBQUFBQUFBQUFBQUE="}
    assert client.post(f"/media/{media_id}/replay", json=source).status_code == 202
    replayed, linked = entries(system)
    if replayed.action != Action.NEW_SOURCE:
        replayed, linked = linked, replayed
    assert (replayed.action, linked.action) == (Action.NEW_SOURCE, Action.LINK)
    assert f"expires={linked.detail['expires']}" in url
    text = json.dumps([entry.model_dump() for entry in (replayed, linked)])
    for secret in ("hush", "media.example", source["media_key"], url.rpartition("=")[2], TOKEN):
        assert secret not in text


def test_bulk_replay_that_fails_halfway_has_the_count_so_far(
    client: TestClient, system: RunningSystem, monkeypatch: pytest.MonkeyPatch
) -> None:
    prepared(system, "")
    replayed: list[str] = []

    def replay(media_id: str) -> None:
        if replayed:
            raise RetryableError(Code.STORAGE, "away")
        replayed.append(media_id)

    monkeypatch.setattr("esteira.web.api.replays.replay_without_waiting", replay)
    assert client.post("/media/replay", json={"session": "mall"}).status_code == 503
    [entry] = entries(system)
    assert (entry.outcome, entry.count, entry.detail) == ("failed", 1, {"error": "storage"})


def given(system: RunningSystem, who: str, action: Action, **target: Any) -> None:
    actor = Actor(who=who, role="operator", token_id="t1", via=Via.DASHBOARD, source="192.0.2.7")
    system.services.catalogue.audit.begin(actor, action, target)


def test_audit_has_every_entry_once_over_all_pages(client: TestClient, system: RunningSystem) -> None:
    for number in range(5):
        given(system, "maria", Action.PAUSE, number=number)
    found: list[int] = []
    query: dict[str, Any] = {"limit": 2}
    while True:
        page = client.get("/audit", params=query).json()
        found += [entry["target"]["number"] for entry in page["audit"]]
        if page["next"] is None:
            break
        query["next"] = page["next"]
    assert sorted(found) == list(range(5))
    [entry] = client.get("/audit", params={"limit": 1}).json()["audit"]
    assert {name: entry[name] for name in ("who", "role", "token_id", "via", "source")} == {
        "who": "maria",
        "role": "operator",
        "token_id": "t1",
        "via": "dashboard",
        "source": "192.0.2.7",
    }
    assert (entry["action"], entry["outcome"], entry["count"], entry["ended_at"]) == ("pause", "started", 0, None)


def test_audit_applies_every_filter(client: TestClient, system: RunningSystem) -> None:
    given(system, "maria", Action.PAUSE)
    given(system, "joão", Action.CANCEL)
    for query, expected in (
        ({"who": "joão"}, ["cancel"]),
        ({"action": "pause"}, ["pause"]),
        ({"outcome": "done"}, []),
        ({"via": "api"}, []),
        ({"since": "1h", "who": "maria"}, ["pause"]),
        ({"until": "1h"}, []),
    ):
        answer = client.get("/audit", params=query)
        assert [entry["action"] for entry in answer.json()["audit"]] == expected, query


@pytest.mark.parametrize(
    "query",
    ["action=unknown", "who=", "who=a&who=b", "since=x", "next=x", "limit=0", "limit=201", "session=a", "outcome=no"],
)
def test_audit_refuses_wrong_parameters(client: TestClient, query: str) -> None:
    answer = client.get(f"/audit?{query}")
    assert (answer.status_code, answer.json()["error"]["code"]) == (400, "bad_payload")


def test_only_an_administrator_reads_the_audit_log(client: TestClient) -> None:
    token = TokenSigner(SecretStr(TOKEN)).session_token("shop", gateway="media", days=1)
    assert client.get("/audit", headers={"authorization": f"Bearer {token}"}).status_code == 403
