"""Tokens of users and sessions over HTTP: links, hand-overs, revocation, guesses, and sessions of two gateways."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from typing import Any

import jwt
import pytest
from fastapi.testclient import TestClient
from pydantic import SecretStr

from esteira.web.app import build_app
from esteira.web.auth import legacy_sessions
from esteira.web.auth.guesses import MAX_FAILURES
from esteira.web.auth.logins import COOKIE, Logins
from pipeline.catalogue.user_tokens import Ended, UserToken, subject
from pipeline.models import Attachment
from pipeline.security.roles import Role
from pipeline.security.scopes import ALL_SESSIONS, Scope, parse_scope
from pipeline.security.tokens import TokenSigner
from pipeline.security.user_tokens import new_token
from pipeline.services import services
from tests.support.system import RunningSystem
from tests.support.web import TOKEN, app_client

SIGNER = TokenSigner(SecretStr(TOKEN))
SECONDS = json.dumps({"seconds": 3600}).encode()


@pytest.fixture
def client(system: RunningSystem, monkeypatch: pytest.MonkeyPatch) -> Iterator[TestClient]:
    with app_client(system, monkeypatch) as client:
        client.headers.pop("authorization")
        yield client


def bearer(text: str) -> dict[str, str]:
    return {"Authorization": f"Bearer {text}"}


def add(name: str, role: Role, scope: Scope = ALL_SESSIONS, *, expires_at: int | None = None) -> dict[str, str]:
    """Adds a user, as a command in another process does. The header with the token."""
    new = new_token()
    token = UserToken(new.id, name, role, scope, new.secret_hash, int(time.time() * 1000), expires_at)
    services().catalogue.user_tokens.add(token)
    return bearer(new.text)


def refresh(client: TestClient) -> None:
    app: Any = client.app
    app.state.authenticator.access.refresh()


def accepted(gateway: str, session: str = "shop") -> str:
    """Records an attachment of this gateway, and returns its id."""
    attachment = Attachment(gateway=gateway, session=session, message_id="m", url="http://a.example/x")
    return services().catalogue.accept(attachment).id


def refusal(answer: Any) -> tuple[int, str]:
    return answer.status_code, answer.json()["error"]["code"]


def test_new_user_is_known_at_once(client: TestClient) -> None:
    header = add("ana", Role.VIEWER, parse_scope(["waha:shop-*"]))
    answer = client.get("/whoami", headers=header).json()
    assert (answer["name"], answer["role"], answer["sessions"]) == ("ana", "viewer", ["waha:shop-*"])
    assert "read" in answer["permissions"]
    assert "system" not in answer["permissions"], "it concerns all sessions"


def test_users_tokens_work_without_an_api_token(client: TestClient, system: RunningSystem) -> None:
    settings = system.settings.model_copy(update={"api_token": None})
    with TestClient(build_app(settings)) as closed:
        viewer, intake = add("ana", Role.VIEWER), add("importer", Role.INTAKE)
        assert closed.get("/media", headers=viewer).status_code == 200
        assert closed.post("/hooks/media", json={}, headers=intake).status_code == 400
        assert refusal(closed.post("/hooks/media", json={})) == (401, "unauthorized")
        assert closed.post(f"/media/{accepted('waha')}/link", content=SECONDS, headers=viewer).status_code >= 400
        assert closed.post("/login", data={"token": viewer["Authorization"][7:]}).status_code == 503


def test_revoked_and_expired_tokens_answer_401(client: TestClient) -> None:
    header = add("ana", Role.VIEWER)
    assert client.get("/media", headers=header).status_code == 200
    services().catalogue.user_tokens.revoke("ana")
    refresh(client)
    assert refusal(client.get("/media", headers=header)) == (401, "unauthorized")
    assert refusal(client.get("/media", headers=add("bob", Role.ADMIN, expires_at=1))) == (401, "unauthorized")


@pytest.mark.parametrize("kind", ["user", "session"])
def test_api_09_link_of_a_revoked_token_is_refused(client: TestClient, kind: str) -> None:
    media_id = accepted("media")
    session_token = SIGNER.session_token("shop", gateway="media", days=1)
    header = add("ana", Role.VIEWER) if kind == "user" else bearer(session_token)
    link = client.post(f"/media/{media_id}/link", content=SECONDS, headers=header).json()["url"]
    admins = client.post(f"/media/{media_id}/link", content=SECONDS, headers=bearer(TOKEN)).json()["url"]
    assert refusal(client.get(link)) == (404, "not_found"), "it has no content yet"
    if kind == "user":
        services().catalogue.user_tokens.revoke("ana")
    else:
        token = SIGNER.read(session_token)
        assert token
        services().catalogue.user_tokens.end({subject("session-token", token.id): Ended(1, 2**60)})
    refresh(client)
    for url in (link, link.replace("/content?", "/thumbnail?")):
        assert refusal(client.get(url)) == (401, "unauthorized")
    assert refusal(client.get(admins)) == (404, "not_found")
    assert refusal(client.get("/media", headers=header)) == (401, "unauthorized")


@pytest.mark.parametrize("kind", ["user", "session"])
def test_api_09_link_expires_with_its_token(client: TestClient, kind: str) -> None:
    media_id, soon = accepted("media"), int(time.time()) + 60
    header = add("ana", Role.VIEWER, expires_at=soon * 1000)
    if kind == "session":
        header = bearer(SIGNER.session_token("shop", gateway="media", days=60 / 86_400))
    link = client.post(f"/media/{media_id}/link", content=SECONDS, headers=header).json()
    assert soon - 2 <= link["expires"] <= soon + 2


def test_link_without_the_id_of_its_token_is_refused(client: TestClient) -> None:
    media_id = accepted("media")
    link = client.post(f"/media/{media_id}/link", content=SECONDS, headers=add("ana", Role.VIEWER)).json()["url"]
    by = link.partition("by=")[2].partition("&")[0]
    for changed in (link.replace(f"&by={by}", ""), link.replace(by, "0" * 12), link.replace(by, "")):
        assert refusal(client.get(changed)) == (401, "unauthorized")


def test_session_token_reads_only_the_session_of_its_gateway(client: TestClient) -> None:
    own, other = accepted("waha"), accepted("evolution")
    header = bearer(SIGNER.session_token("shop", gateway="waha", days=1))
    assert [item["id"] for item in client.get("/media", headers=header).json()["media"]] == [own]
    assert client.get(f"/media/{own}", headers=header).status_code == 200
    assert refusal(client.get(f"/media/{other}", headers=header)) == (404, "not_found")
    everywhere = bearer(SIGNER.session_token("shop", gateway=None, days=1))
    assert len(client.get("/media", headers=everywhere).json()["media"]) == 2


def test_token_of_an_older_version_is_accepted_only_while_one_gateway_has_its_session(
    client: TestClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(legacy_sessions, "KNOWN_FOR_S", 0.0)
    old = {"session": "shop", "aud": "esteira", "exp": int(time.time()) + 600}
    header = bearer(jwt.encode(old, SIGNER._token_key, algorithm="HS256"))
    assert refusal(client.get("/media", headers=header)) == (401, "unauthorized")
    own = accepted("waha")
    assert [item["id"] for item in client.get("/media", headers=header).json()["media"]] == [own]
    accepted("evolution")
    answer = client.get("/media", headers=header)
    assert refusal(answer) == (401, "unauthorized")
    assert "esteira token" in answer.json()["error"]["message"]


def test_intake_user_hands_over_attachments_of_its_sessions_only(client: TestClient) -> None:
    header = add("importer", Role.INTAKE, parse_scope(["media:archive-*"]))

    def hand_over(*sessions: str) -> Any:
        body = [{"session": name, "message_id": name, "url": "http://127.0.0.1:9/x"} for name in sessions]
        return client.post("/hooks/media", json=body, headers=header)

    assert hand_over("archive-1", "archive-2").status_code == 202
    answer = hand_over("archive-3", "shop")
    assert refusal(answer) == (403, "forbidden")
    assert "media:archive-*" in answer.json()["error"]["message"]
    names = {item["session"] for item in client.get("/media", headers=bearer(TOKEN)).json()["media"]}
    assert names == {"archive-1", "archive-2"}, "nothing of a refused body is accepted"
    assert refusal(client.post("/hooks/media", json={}, headers=add("ana", Role.OPERATOR))) == (403, "forbidden")


def test_intake_user_hands_a_gateways_messages_over_and_its_secret_stays_valid(client: TestClient) -> None:
    message = {"event": "onmessage", "session": "shop", "id": "m1", "type": "image", "directPath": "/v/x"}
    known = add("listener", Role.INTAKE, parse_scope(["wppconnect:shop"]))
    answer = client.post("/hooks/wppconnect", json=message, headers=known)
    assert (answer.status_code, [one["message_id"] for one in answer.json()["accepted"]]) == (202, ["m1"])
    assert client.post("/hooks/wppconnect", json=message, headers=bearer(TOKEN)).json() == answer.json()
    other = {**message, "session": "other"}
    assert refusal(client.post("/hooks/wppconnect", json=other, headers=known)) == (403, "forbidden")
    viewer = add("viewer", Role.VIEWER, parse_scope(["*"]))
    assert refusal(client.post("/hooks/wppconnect", json=message, headers=viewer)) == (403, "forbidden")
    assert refusal(client.post("/hooks/wppconnect", json=message, headers=bearer("a guess"))) == (401, "unauthorized")


def test_limited_operator_pauses_only_names_that_no_other_gateway_has(client: TestClient) -> None:
    accepted("waha"), accepted("waha", "both"), accepted("cloud", "both")
    header = add("ana", Role.OPERATOR, parse_scope(["waha:*"]))
    assert client.post("/pause", json={"session": "shop"}, headers=header).json()["changed"] is True
    for body in ({"session": "both"}, {"session": "unknown"}, {"stage": "fetch"}):
        assert refusal(client.post("/pause", json=body, headers=header)) == (403, "forbidden")
    assert client.post("/pause", json={"session": "both"}, headers=bearer(TOKEN)).status_code == 200
    shown = client.get("/pauses", headers=header).json()["pauses"]
    assert [pause["name"] for pause in shown] == ["shop"]


def test_bulk_replay_and_failures_leave_other_sessions_out(client: TestClient) -> None:
    accepted("waha"), accepted("cloud")
    header = add("ana", Role.OPERATOR, parse_scope(["waha:shop"]))
    found = client.post("/media/replay", json={"status": "failed", "dry_run": True}, headers=header)
    assert found.json()["matched"] == 0
    assert client.get("/failures", headers=header).json() == {"failures": []}


def test_guesses_get_429_and_valid_tokens_of_the_same_address_pass(client: TestClient) -> None:
    user = add("ana", Role.VIEWER)
    codes = [refusal(client.get("/media", headers=bearer(f"guess {number}"))) for number in range(MAX_FAILURES + 2)]
    assert codes == [(401, "unauthorized")] * MAX_FAILURES + [(429, "too_many_requests")] * 2
    guesses: list[tuple[str, str, dict[str, str]]] = [
        ("GET", "/media", bearer(f"est_{'0' * 12}_{'x' * 43}")),
        ("GET", "/metrics", bearer("a guess")),
        ("POST", "/hooks/media", bearer("a guess")),
        ("GET", f"/media/{'0' * 32}/content?expires=9999999999&signature=x", {}),
    ]
    for method, path, headers in guesses:
        answer = client.request(method, path, headers=headers)
        assert refusal(answer) == (429, "too_many_requests"), path
        assert 0 < int(answer.headers["retry-after"]) <= 60
    assert refusal(client.get("/media")) == (401, "unauthorized"), "without a token it is no guess"
    session = bearer(SIGNER.session_token("shop", gateway="media", days=1))
    for header in (bearer(TOKEN), user, session):
        assert client.get("/media", headers=header).status_code == 200


def test_guesses_of_gateway_secrets_get_429(system: RunningSystem, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WPPCONNECT_SECRET", "a secret of the tests")
    with app_client(system, monkeypatch) as client:
        client.headers.pop("authorization")
        codes = [client.post(f"/hooks/wppconnect/guess-{number}").status_code for number in range(MAX_FAILURES + 1)]
        assert codes == [401] * MAX_FAILURES + [429]
        assert client.post("/hooks/wppconnect", headers={"X-Webhook-Secret": "a guess"}).status_code == 429
        assert client.post("/hooks/wppconnect", json={}).status_code == 401
        assert client.post("/hooks/wppconnect/a%20secret%20of%20the%20tests", json={}).status_code == 202


def test_users_tokens_answer_503_when_the_copy_is_too_old_and_the_api_token_works(
    client: TestClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    header = add("ana", Role.VIEWER)
    assert client.get("/whoami", headers=header).status_code == 200
    app: Any = client.app
    access = app.state.authenticator.access
    monkeypatch.setattr(access, "refresh", lambda **_: None)
    monkeypatch.setattr(access, "_read_at", access._monotonic() - 11)
    assert client.get("/whoami", headers=header).status_code == 200, "it is in the copy"
    unknown = client.get("/whoami", headers=bearer(f"est_{'0' * 12}_{'x' * 43}"))
    assert refusal(unknown) == (503, "catalogue"), "it may have been made meanwhile"
    monkeypatch.setattr(access, "_read_at", access._monotonic() - 301)
    assert refusal(client.get("/whoami", headers=header)) == (503, "catalogue")
    assert client.get("/whoami", headers=bearer(TOKEN)).status_code == 200


@pytest.mark.parametrize(
    ("scope", "shown"), [("*", {"status", "catalogue", "redis", "intake"}), ("waha:shop", {"status"})]
)
def test_readyz_shows_a_login_what_its_scope_allows(
    client: TestClient, system: RunningSystem, scope: str, shown: set[str]
) -> None:
    header = add("ana", Role.VIEWER, parse_scope([scope]))
    refresh(client)
    app: Any = client.app
    settings = system.settings.model_copy(update={"api_token": SecretStr(TOKEN)})
    app.state.logins = Logins(settings, app.state.authenticator.access)
    login = SIGNER.login(client.get("/whoami", headers=header).json()["token_id"])
    assert client.get("/readyz", headers={"Cookie": f"{COOKIE}={login}"}).json().keys() == shown
