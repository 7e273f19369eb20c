"""`/webhooks`: endpoints, deliveries and redelivery, with the API_TOKEN only."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from fastapi.testclient import TestClient
from pydantic import SecretStr

from pipeline.catalogue import DeliveryResult, DeliveryStatus
from pipeline.security.tokens import TokenSigner
from tests.support.system import RunningSystem
from tests.support.web import TOKEN, app_client
from tests.support.webhooks import SECRET, announced_record, endpoints


@pytest.fixture
def system(make_system: Callable[..., RunningSystem]) -> RunningSystem:
    given = {"name": "crm", "url": "http://127.0.0.1:9/secret-path", "types": ["media.done"], "sessions": ["s*"]}
    return make_system(webhook_endpoints=endpoints(given))


@pytest.fixture
def client(system: RunningSystem, monkeypatch: pytest.MonkeyPatch) -> Iterator[TestClient]:
    with app_client(system, monkeypatch) as client:
        yield client


def undelivered(system: RunningSystem, *, session: str = "shop", endpoint: str = "crm") -> str:
    """The id of a delivery that was tried and given up."""
    record = announced_record(system.services.catalogue, endpoint, session=session)
    outbox = system.services.catalogue.deliveries
    [parcel] = [
        one for one in outbox.record_and_claim(endpoint, [], want=9, lease_s=40).attempts if one.media_id == record.id
    ]
    outbox.record_and_claim(endpoint, [DeliveryResult(parcel, "the endpoint answered 500")], want=0, lease_s=40)
    return parcel.id


def status(system: RunningSystem, delivery: str) -> DeliveryStatus:
    found = system.services.catalogue.deliveries.get(delivery)
    assert found
    return found.status


def test_endpoints_have_their_counts_and_circuit(system: RunningSystem, client: TestClient) -> None:
    undelivered(system)
    announced_record(system.services.catalogue, "crm")
    answer = client.get("/webhooks")
    [endpoint] = answer.json()["endpoints"]
    assert endpoint.pop("oldest_pending_s") >= 0
    circuit = endpoint.pop("circuit")
    assert endpoint == {
        "name": "crm", "configured": True, "origin": "http://127.0.0.1:9", "types": ["media.done"], "sessions": ["s*"],
        "pending": 1, "undelivered": 1,
    }  # fmt: skip
    assert (circuit["state"], circuit["failures"]) == ("closed", 1)
    assert circuit["error"] == "the endpoint answered 500"
    assert "secret-path" not in answer.text
    assert SECRET not in answer.text


def test_deliveries_are_filtered_and_have_no_body(system: RunningSystem, client: TestClient) -> None:
    lost, _ = undelivered(system), announced_record(system.services.catalogue, "crm", session="s2")
    answer = client.get("/webhooks/deliveries")
    assert {one["status"] for one in answer.json()["deliveries"]} == {"pending", "undelivered"}
    assert "words" not in answer.text
    [one] = client.get("/webhooks/deliveries?status=undelivered&endpoint=crm&since=1h").json()["deliveries"]
    assert (one["id"], one["attempts"], one["error"]) == (lost, 1, "the endpoint answered 500")
    assert client.get("/webhooks/deliveries?session=nobody").json() == {"deliveries": []}
    assert len(client.get("/webhooks/deliveries?limit=1").json()["deliveries"]) == 1


def test_undelivered_events_are_redelivered(system: RunningSystem, client: TestClient) -> None:
    first, second = undelivered(system), undelivered(system, session="s2")
    dry = client.post("/webhooks/redeliver", json={"dry_run": True})
    assert (dry.status_code, dry.json()) == (200, {"matched": 2, "ids": [first, second]})
    assert status(system, first) is DeliveryStatus.UNDELIVERED
    answer = client.post("/webhooks/redeliver", json={"session": "s2"})
    assert (answer.status_code, answer.json()) == (202, {"matched": 1, "redelivered": 1, "missed": []})
    assert (status(system, first), status(system, second)) == (DeliveryStatus.UNDELIVERED, DeliveryStatus.PENDING)
    body = json.dumps({"ids": [first, "0" * 32, "' OR 1=1", "\ud800"]})
    answer = client.post("/webhooks/redeliver", content=body)
    assert answer.json()["redelivered"] == 1
    assert len(answer.json()["missed"]) == 3
    assert client.post("/webhooks/redeliver").json() == {"matched": 0, "redelivered": 0, "missed": []}


def test_removed_endpoint_gets_no_redelivery(system: RunningSystem, client: TestClient) -> None:
    lost = undelivered(system, endpoint="old")
    assert client.post("/webhooks/redeliver").json()["matched"] == 0
    assert client.post("/webhooks/redeliver", json={"ids": [lost]}).json()["missed"] == [lost]


@pytest.mark.parametrize(
    ("body", "field"),
    [
        ([], "JSON object"),
        ({"nonsense": 1}, "nonsense"),
        ({"ids": "x"}, "ids"),
        ({"ids": [1]}, "ids"),
        ({"ids": ["0" * 32], "endpoint": "crm"}, "ids"),
        ({"endpoint": ""}, "endpoint"),
        ({"dry_run": "yes"}, "dry_run"),
        ({"status": "delivered"}, "status"),
        ({"status": "lost"}, "status"),
        ({"since": "yesterday"}, "since"),
    ],
)
def test_redeliver_refuses_a_wrong_body_and_names_the_field(
    system: RunningSystem, client: TestClient, body: Any, field: str
) -> None:
    lost = undelivered(system)
    answer = client.post("/webhooks/redeliver", json=body)
    assert (answer.status_code, answer.json()["error"]["code"]) == (400, "bad_payload")
    assert field in answer.json()["error"]["message"]
    assert status(system, lost) is DeliveryStatus.UNDELIVERED


@pytest.mark.parametrize("query", ["status=lost", "nonsense=1", "limit=0", "since=never", "endpoint="])
def test_deliveries_refuse_wrong_parameters(client: TestClient, query: str) -> None:
    assert client.get(f"/webhooks/deliveries?{query}").status_code == 400


def test_webhooks_need_the_api_token(system: RunningSystem, client: TestClient) -> None:
    undelivered(system)
    session = TokenSigner(SecretStr(TOKEN)).session_token("shop", gateway="media", days=1)
    for shown, expected in (("Bearer wrong", 401), (f"Bearer {session}", 403)):
        headers = {"Authorization": shown}
        assert client.get("/webhooks", headers=headers).status_code == expected
        assert client.get("/webhooks/deliveries", headers=headers).status_code == expected
        assert client.post("/webhooks/redeliver", headers=headers).status_code == expected
