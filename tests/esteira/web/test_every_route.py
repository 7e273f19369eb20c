"""Every call of the app, the next one too: nobody gets in without a token, and a session's token only reads."""

from __future__ import annotations

import re
from collections.abc import Iterator

import pytest
from fastapi.testclient import TestClient
from pydantic import SecretStr

from esteira.web.auth.logins import COOKIE, Logins
from pipeline.security.tokens import TokenSigner
from tests.support.system import RunningSystem
from tests.support.web import TOKEN, app_client

OPEN = {("get", "/healthz"), ("get", "/readyz")}
FOR_LOGINS = {("get", "/docs"), ("get", "/openapi.json")}  # which tell nothing of any attachment
FOR_SESSIONS = {  # each of them is tested for what it shows to whom
    *(("get", "/media"), ("get", "/media/{media_id}"), ("post", "/media/{media_id}/link"), ("get", "/failures")),
    *((method, f"/media/{{media_id}}/{what}") for method in ("get", "head") for what in ("content", "thumbnail")),
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
    found = []
    for route in client.app.routes:  # type: ignore[attr-defined]
        found += [
            (method.lower(), re.sub(r":\w+}", "}", route.path)) for method in getattr(route, "methods", None) or ()
        ]
    assert {*OPEN, *FOR_SESSIONS, ("post", "/pause"), ("get", "/workers")} <= set(found)
    return found


def refused(client: TestClient, call: Call, **shown: str) -> bool:
    method, path = call
    path = path.replace("{media_id}", "0" * 32).replace("{gateway}", "media")
    return client.request(method, path, headers=shown, content=b"{}").status_code in REFUSED


def test_api_05_nothing_answers_without_a_token(client: TestClient) -> None:
    assert {call for call in calls(client) if not refused(client, call)} == OPEN


def test_api_04_a_login_opens_no_call(client: TestClient, system: RunningSystem) -> None:
    settings = system.settings.model_copy(update={"api_token": SecretStr(TOKEN)})
    client.app.state.logins = Logins(settings)  # type: ignore[attr-defined]
    cookie = f"{COOKIE}={TokenSigner(SecretStr(TOKEN)).login(seconds=60)}"
    assert {call for call in calls(client) if not refused(client, call, cookie=cookie)} == OPEN | FOR_LOGINS


def test_api_03_a_sessions_token_opens_what_is_tested_for_it_and_nothing_else(client: TestClient) -> None:
    token = TokenSigner(SecretStr(TOKEN)).session_token("shop", days=1)
    opened = {call for call in calls(client) if not refused(client, call, authorization=f"Bearer {token}")}
    assert opened == OPEN | FOR_SESSIONS
