"""Every call with every role, and with the token of another session.

The routes are read from the app, so a new one that is not in docs/security.md, or that allows more than its row says,
fails here.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

import pytest
from fastapi.routing import iter_route_contexts
from fastapi.testclient import TestClient
from pydantic import SecretStr

from esteira.web.auth.dependencies import Requires
from esteira.web.auth.logins import COOKIE, Logins
from pipeline.catalogue.user_tokens import UserToken
from pipeline.security.roles import PERMISSIONS, USER_ROLES, Permission, Role
from pipeline.security.scopes import ALL_SESSIONS, Scope, parse_scope
from pipeline.security.tokens import TokenSigner
from pipeline.security.user_tokens import new_token
from pipeline.services import services
from tests.support.system import ROOT, RunningSystem
from tests.support.web import TOKEN, app_client, app_routes

COLUMNS = (*map(str, USER_ROLES), "one session", "link")
REFUSED = {401, 403}
SHOP, OTHERS = "media:shop", "evolution:shop"  # two sessions with the same name
OPEN = {("get", "/healthz"), ("get", "/readyz")}
DOCUMENTATION = {("get", "/docs"), ("get", "/docs/{name}"), ("get", "/openapi.json")}
# Routes that check their callers in another way than by a declared permission; the table has them all the same.
UNDECLARED = {
    *OPEN,
    *(("get", "/hooks/cloud"), ("post", "/hooks/{gateway}"), ("post", "/hooks/{gateway}/{secret}")),
    *(("get", "/docs"), ("get", "/metrics"), ("get", "/whoami")),
}

Call = tuple[str, str]


@pytest.fixture
def client(system: RunningSystem, monkeypatch: pytest.MonkeyPatch) -> Iterator[TestClient]:
    with app_client(system, monkeypatch) as client:
        client.headers.pop("authorization")
        yield client


def table() -> dict[Call, dict[str, bool]]:
    """The table of docs/security.md: for each call, who may use it."""
    rows = re.findall(r"^\| `([A-Z]+) (/\S*)` \|(.*)\|$", (ROOT / "docs" / "security.md").read_text(), re.MULTILINE)
    found = {}
    for method, path, cells in rows:
        allowed = [cell.strip() == "yes" for cell in cells.split("|")]
        found[(method.lower(), path)] = dict(zip(COLUMNS, allowed, strict=True))
    return found


def of(column: str) -> set[Call]:
    return {call for call, cells in table().items() if cells[column]}


def calls(client: TestClient) -> list[Call]:
    return [(route.method, route.path) for route in app_routes(client.app)]


def url_of(path: str, media_id: str = "0" * 32) -> str:
    return path.replace("{media_id}", media_id).replace("{gateway}", "media")


def allowed(client: TestClient, **headers: str) -> set[Call]:
    """The calls that are not refused with these headers."""
    answered = set()
    for method, path in calls(client):
        answer = client.request(method, url_of(path), headers=headers, content=b"{}")
        if answer.status_code not in REFUSED:
            answered.add((method, path))
        elif method != "head":
            expected = "forbidden" if answer.status_code == 403 else "unauthorized"
            assert answer.json()["error"]["code"] == expected, (method, path)
    return answered


def user(client: TestClient, role: Role, scope: Scope = ALL_SESSIONS) -> dict[str, str]:
    """The header of a new user."""
    new = new_token()
    services().catalogue.user_tokens.add(UserToken(new.id, f"user-{new.id}", role, scope, new.secret_hash, 1))
    app: Any = client.app
    app.state.authenticator.access.refresh()
    return {"authorization": f"Bearer {new.text}"}


def declared_permissions(client: TestClient) -> dict[Call, Permission]:
    app: Any = client.app
    found: dict[Call, Permission] = {}
    for route in iter_route_contexts(app.routes):
        for method in getattr(route, "methods", None) or ():
            for dependency in _dependencies(getattr(route, "dependant", None)):
                if isinstance(dependency, Requires):
                    found[(method.lower(), re.sub(r":\w+}", "}", route.path))] = dependency.permission
    return found


def _dependencies(dependant: Any) -> Iterator[Any]:
    for inner in dependant.dependencies if dependant else ():
        yield inner.call
        yield from _dependencies(inner)


def test_api_10_table_has_every_route_with_the_roles_of_its_permission(client: TestClient) -> None:
    assert set(calls(client)) == set(table())
    declared = declared_permissions(client)
    assert set(calls(client)) - declared.keys() == UNDECLARED
    for call, permission in declared.items():
        expected = {str(role): permission in PERMISSIONS[role] for role in USER_ROLES}
        assert {role: table()[call][role] for role in expected} == expected, call


def test_api_05_every_call_needs_a_token(client: TestClient) -> None:
    assert allowed(client) == OPEN


@pytest.mark.parametrize("role", USER_ROLES)
def test_api_10_each_role_may_use_the_calls_of_its_column(client: TestClient, role: Role) -> None:
    assert allowed(client, **user(client, role)) == of(str(role))


def test_api_10_api_token_allows_what_an_admin_may(client: TestClient) -> None:
    assert allowed(client, authorization=f"Bearer {TOKEN}") == of("admin")


def test_api_03_session_token_may_use_the_calls_of_its_column(client: TestClient) -> None:
    token = TokenSigner(SecretStr(TOKEN)).session_token("shop", gateway="media", days=1)
    assert allowed(client, authorization=f"Bearer {token}") == of("one session")


def test_api_10_viewer_of_some_sessions_may_use_the_calls_of_a_session_token(client: TestClient) -> None:
    assert allowed(client, **user(client, Role.VIEWER, parse_scope([SHOP]))) == of("one session")


@pytest.mark.parametrize("role", [Role.ADMIN, Role.OPERATOR, Role.VIEWER])
def test_api_10_attachment_of_another_gateways_session_does_not_exist_for_any_role(
    client: TestClient, system: RunningSystem, role: Role
) -> None:
    media_id = system.submit(url="http://127.0.0.1:9/", session="shop").id
    own, other = (user(client, role, parse_scope([pattern])) for pattern in (SHOP, OTHERS))
    for method, path in [call for call in calls(client) if "{media_id}" in call[1] and call in of(str(role))]:
        body = b'{"seconds": 60}' if path.endswith("/link") else b""
        hidden = client.request(method, url_of(path, media_id), headers=other, content=body)
        unknown = client.request(method, url_of(path, "f" * 32), headers=other, content=body)
        assert (hidden.status_code, hidden.content) == (unknown.status_code, unknown.content), (method, path)
        assert hidden.status_code == 404, (method, path)
    assert client.get("/media", headers=other).json() == {"media": [], "next": None}
    assert [item["id"] for item in client.get("/media", headers=own).json()["media"]] == [media_id]


def test_api_04_login_allows_only_the_documentation(client: TestClient, system: RunningSystem) -> None:
    settings = system.settings.model_copy(update={"api_token": SecretStr(TOKEN)})
    app: Any = client.app
    app.state.logins = Logins(settings, app.state.authenticator.access)
    cookie = f"{COOKIE}={TokenSigner(SecretStr(TOKEN)).login()}"
    assert allowed(client, cookie=cookie) == OPEN | DOCUMENTATION


def test_api_10_link_opens_its_content_and_nothing_else(client: TestClient, system: RunningSystem) -> None:
    media_id = system.submit(url="http://127.0.0.1:9/", session="shop").id
    path, _ = TokenSigner(SecretStr(TOKEN)).link(media_id, seconds=60)
    opened = set()
    for method, route in calls(client):
        url = f"{url_of(route, media_id)}?{path.partition('?')[2]}"
        if client.request(method, url, content=b"{}").status_code not in REFUSED:
            opened.add((method, route))
    assert opened == of("link")
