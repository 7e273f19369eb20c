"""`GET /failures`: groups with their remedies, for the callers that may see them."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from fastapi.testclient import TestClient
from pydantic import SecretStr

from pipeline.models import Record, Status
from pipeline.remedies import remedy
from pipeline.security.tokens import TokenSigner
from tests.support.catalogues import finished
from tests.support.system import RunningSystem
from tests.support.web import TOKEN, app_client


@pytest.fixture
def client(system: RunningSystem, monkeypatch: pytest.MonkeyPatch) -> Iterator[TestClient]:
    with app_client(system, monkeypatch) as client:
        yield client


def failed(system: RunningSystem, session: str) -> Record:
    return finished(
        system.services.catalogue, Status.FAILED, of=system.attachment(session=session, url="https://x.de/?k")
    )


def groups(client: TestClient, query: str = "", **headers: str) -> Any:
    answer = client.get(f"/failures{query}", headers=headers)
    assert (answer.status_code, answer.headers["cache-control"]) == (200, "no-store")
    return answer.json()["failures"]


def test_failures_are_grouped_with_their_remedies(system: RunningSystem, client: TestClient) -> None:
    failed(system, "a")
    newest = failed(system, "b")
    [group] = groups(client)
    example = group.pop("example")
    assert group == {
        "code": "fetch_unavailable",
        "stage": "fetch",
        "count": 2,
        "sessions": 2,
        "busiest": ["a", "b"],
        "oldest": group["oldest"],
        "newest": newest.received_at,
        **dict(zip(("happened", "to_do"), remedy("fetch_unavailable") or (), strict=True)),
    }
    assert set(example) == {"id", "session", "message_id", "error"}
    [told] = groups(client, "?language=pt-BR&since=1h")
    assert (told["happened"], told["to_do"]) == remedy("fetch_unavailable", language="pt-BR")
    assert groups(client, "?since=2100-01-01") == []


def test_api_03_session_token_sees_only_its_failures(system: RunningSystem, client: TestClient) -> None:
    for session in ("shop", "bar"):
        failed(system, session)
    shown = {"Authorization": f"Bearer {TokenSigner(SecretStr(TOKEN)).session_token('shop', gateway='media', days=1)}"}
    [group] = groups(client, **shown)
    assert (group["count"], group["busiest"], group["example"]["session"]) == (1, ["shop"], "shop")
    assert groups(client, "?session=bar", **shown) == []
    assert [group["count"] for group in groups(client, "?session=bar")] == [1]


@pytest.mark.parametrize("query", ["?language=de", "?sesion=a", "?since=yesterday", "?session=", "?limit=3"])
def test_failures_refuse_wrong_parameters(client: TestClient, query: str) -> None:
    answer = client.get(f"/failures{query}")
    assert (answer.status_code, answer.json()["error"]["code"]) == (400, "bad_payload")


def test_api_05_failures_need_a_token(client: TestClient) -> None:
    assert client.get("/failures", headers={"Authorization": ""}).status_code == 401
