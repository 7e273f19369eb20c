"""Every call of the app needs a token, except the health checks; a session token only reads.

The routes are read from the app, so a new one that needs no token fails here.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from fastapi.testclient import TestClient
from pydantic import SecretStr

from esteira.web.auth.logins import COOKIE, Logins
from pipeline.security.tokens import TokenSigner
from tests.support.system import RunningSystem
from tests.support.web import TOKEN, app_client, app_routes

OPEN = {("get", "/healthz"), ("get", "/readyz")}
FOR_LOGINS = {("get", "/docs"), ("get", "/docs/{name}"), ("get", "/openapi.json")}  # they show no attachment
FOR_SESSIONS = {  # other tests check what each of them shows to a session
    *(
        ("get", "/pauses"),
        ("get", "/media"),
        ("get", "/media/{media_id}"),
        ("post", "/media/{media_id}/link"),
        ("get", "/failures"),
    ),
    *((method, f"/media/{{media_id}}/{part}") for method in ("get", "head") for part in ("content", "thumbnail")),
    *FOR_LOGINS,
}
REFUSED = {401, 403}

Call = tuple[str, str]


@pytest.fixture
def client(system: RunningSystem, monkeypatch: pytest.MonkeyPatch) -> Iterator[TestClient]:
    with app_client(system, monkeypatch) as client:
        client.headers.pop("authorization")
        yield client


def calls(client: TestClient) -> list[Call]:
    calls = [(route.method, route.path) for route in app_routes(client.app)]
    assert {*OPEN, *FOR_SESSIONS, ("post", "/pause"), ("get", "/workers")} <= set(calls)
    return calls


def allowed(client: TestClient, **headers: str) -> set[Call]:
    """The calls that are not refused with these headers."""
    answered = set()
    for method, path in calls(client):
        url = path.replace("{media_id}", "0" * 32).replace("{gateway}", "media")
        if client.request(method, url, headers=headers, content=b"{}").status_code not in REFUSED:
            answered.add((method, path))
    return answered


def test_api_05_every_call_needs_a_token(client: TestClient) -> None:
    assert allowed(client) == OPEN


def test_api_04_a_login_allows_only_the_documentation(client: TestClient, system: RunningSystem) -> None:
    settings = system.settings.model_copy(update={"api_token": SecretStr(TOKEN)})
    app: Any = client.app
    app.state.logins = Logins(settings, app.state.authenticator.access)
    cookie = f"{COOKIE}={TokenSigner(SecretStr(TOKEN)).login()}"
    assert allowed(client, cookie=cookie) == OPEN | FOR_LOGINS


def test_api_03_a_session_token_allows_only_reading(client: TestClient) -> None:
    token = TokenSigner(SecretStr(TOKEN)).session_token("shop", gateway="media", days=1)
    assert allowed(client, authorization=f"Bearer {token}") == OPEN | FOR_SESSIONS
