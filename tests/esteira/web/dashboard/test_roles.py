"""The dashboard of users with roles and sessions: what they see, and what is refused on the server."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from types import SimpleNamespace
from typing import Any
from urllib.parse import urlencode

import pytest

from actors.operations.audit import AuditEntry
from esteira.web.dashboard.attachments.actions import Actions
from esteira.web.dashboard.attachments.table_query import TableQuery
from esteira.web.dashboard.bulk.actions import BULK_ACTIONS
from esteira.web.dashboard.bulk.run import BULK_RUNS
from esteira.web.dashboard.bulk.selections import MediaSelection
from esteira.web.dashboard.bulk.start import start
from esteira.web.dashboard.pauses import buttons
from esteira.web.dashboard.routes import MAX_LOGINS
from esteira.web.dashboard.view import View
from esteira.web.dashboard.webhooks.redelivery import Redelivery
from pipeline.catalogue import Action
from pipeline.security.callers import ANONYMOUS, API_TOKEN_CALLER, Caller
from pipeline.security.roles import Role
from pipeline.security.scopes import parse_scope
from tests.support.system import RunningSystem
from tests.support.users import user
from tests.support.web_server import TOKEN, Reply, WebServer, web_server


@pytest.fixture
def server(system: RunningSystem) -> Iterator[WebServer]:
    with web_server(system, dashboard="true") as running:
        yield running


def log_in(server: WebServer, token: str) -> Reply:
    headers = {"Content-Type": "application/x-www-form-urlencoded"}
    return server.request("POST", "/login", urlencode({"token": token}), headers=headers)


def test_pages_show_only_what_the_user_may_see(system: RunningSystem, server: WebServer) -> None:
    mine = system.submit(url="http://127.0.0.1:9/", session="shop", filename="mine.jpg").id
    other = system.submit(url="http://127.0.0.1:9/", session="other", filename="other.jpg").id
    assert log_in(server, user(system, "importer", Role.INTAKE)).status == 403
    answer = log_in(server, user(system, "ana", Role.VIEWER, "media:shop"))
    assert answer.status == 303
    cookie = {"Cookie": answer.headers["set-cookie"].partition(";")[0]}
    assert server.request("GET", "/", headers=cookie).headers["location"] == "/dashboard/media"
    page = server.request("GET", "/dashboard/media", headers=cookie).body.decode()
    assert "ana (viewer)" in page
    assert mine in page
    assert other not in page
    assert "mine.jpg" in server.request("GET", f"/dashboard/media/{mine}", headers=cookie).body.decode()
    hidden = server.request("GET", f"/dashboard/media/{other}", headers=cookie).body.decode()
    assert "other.jpg" not in hidden
    sessions = server.request("GET", "/dashboard/sessions", headers=cookie).body.decode()
    assert "session=shop" in sessions
    assert "session=other" not in sessions
    admins = {"Cookie": log_in(server, TOKEN).headers["set-cookie"].partition(";")[0]}
    assert server.request("GET", "/", headers=admins).status == 200
    assert "session=other" in server.request("GET", "/dashboard/sessions", headers=admins).body.decode()


@pytest.mark.parametrize(("role", "shown"), [(Role.VIEWER, False), (Role.OPERATOR, True)])
def test_sessions_page_has_gateways_and_buttons_for_roles_that_may_pause(
    system: RunningSystem, server: WebServer, role: Role, shown: bool
) -> None:
    system.submit(url="http://127.0.0.1:9/", session="shop")
    cookie = {"Cookie": log_in(server, user(system, "ana", role)).headers["set-cookie"].partition(";")[0]}
    page = server.request("GET", "/dashboard/sessions", headers=cookie).body.decode()
    assert ("Control" in page) is shown
    assert '"tag":"div","text":"media","class":["hint"]' in page


def test_user_cannot_fill_the_catalogue_with_logins(system: RunningSystem, server: WebServer) -> None:
    ana, ben = user(system, "ana", Role.VIEWER, "media:shop"), user(system, "ben", Role.VIEWER)
    assert {log_in(server, ana).status for _ in range(MAX_LOGINS)} == {303}
    refused = log_in(server, ana)
    assert refused.status == 429
    assert 0 < int(refused.headers["retry-after"]) <= 61
    assert log_in(server, ben).status == 303


@pytest.mark.parametrize(
    ("caller", "allowed"),
    [
        (ANONYMOUS, set()),
        (Caller("ana", Role.VIEWER), set()),
        (Caller("ana", Role.OPERATOR), {"_send", "_stop"}),
        (API_TOKEN_CALLER, {"_send", "_stop", "_remove"}),
    ],
)
def test_actions_of_an_attachment_are_refused_on_the_server(
    monkeypatch: pytest.MonkeyPatch, caller: Caller, allowed: set[str]
) -> None:
    """A browser can send a click of a button that it does not show."""
    done: list[str] = []
    for name in ("begin", "complete"):  # without a catalogue
        monkeypatch.setattr(AuditEntry, name, lambda *_: None)
    module = "esteira.web.dashboard.attachments.actions"
    for name in ("replay_without_waiting", "cancel", "delete"):
        monkeypatch.setattr(f"{module}.{name}", lambda *_: done.append("") or SimpleNamespace(finished_at=1))
    actions: Any = Actions.__new__(Actions)
    actions._view, actions._id = View(caller=caller), "0" * 32
    actions._say = lambda *_, **__: None
    actions._refresh = lambda: asyncio.sleep(0)
    for name in ("_send", "_stop", "_remove"):
        before = len(done)
        asyncio.run(getattr(actions, name)())
        assert (len(done) > before) is (name in allowed), name


@pytest.mark.parametrize(
    ("caller", "allowed"),
    [
        (Caller("ana", Role.VIEWER), set()),
        (Caller("ana", Role.OPERATOR), {"replay", "cancel"}),
        (Caller("ana", Role.OPERATOR, parse_scope(["*:shop"])), {"replay", "cancel"}),
        (API_TOKEN_CALLER, {"replay", "cancel", "delete"}),
    ],
)
def test_bulk_actions_are_refused_on_the_server(
    monkeypatch: pytest.MonkeyPatch, caller: Caller, allowed: set[str]
) -> None:
    started: list[str] = []
    for method in ("begin", "complete"):  # without a catalogue
        monkeypatch.setattr(AuditEntry, method, lambda *_: None)
    monkeypatch.setattr(BULK_RUNS, "start", lambda run: started.append(run.action.name) or True)
    for action in BULK_ACTIONS:
        selection = MediaSelection(TableQuery({}), 1, ("0" * 32,), caller)
        refusal = asyncio.run(start(View(caller=caller), action, selection, total=1, rate=1))
        assert (refusal is None) is (action.name in allowed)
    assert set(started) == allowed


@pytest.mark.parametrize(
    ("caller", "allowed"),
    [
        (Caller("ana", Role.VIEWER), False),
        (Caller("ana", Role.OPERATOR), True),
        (Caller("ana", Role.OPERATOR, parse_scope(["*:shop"])), False),
    ],
)
def test_redelivery_is_refused_on_the_server(monkeypatch: pytest.MonkeyPatch, caller: Caller, allowed: bool) -> None:
    done: list[str] = []
    for method in ("begin", "complete"):  # without a catalogue
        monkeypatch.setattr(AuditEntry, method, lambda *_: None)
    shown: list[bool] = []
    redelivery: Any = Redelivery.__new__(Redelivery)
    redelivery._view, redelivery._target, redelivery._refresh = View(caller=caller), {}, lambda: asyncio.sleep(0)
    redelivery._dialog = SimpleNamespace(close=lambda: None)
    redelivery._work = lambda _: done.append("") or "said"
    redelivery._say = lambda _, *, bad=False: shown.append(bad)
    asyncio.run(redelivery._confirmed())
    assert (bool(done), shown) == (allowed, [not allowed])


@pytest.mark.parametrize(
    ("caller", "kind", "name", "allowed"),
    [
        (Caller("ana", Role.VIEWER), "stage", "fetch", False),
        (Caller("ana", Role.VIEWER), "session", "shop", False),
        (Caller("ana", Role.OPERATOR), "stage", "fetch", True),
        (Caller("ana", Role.OPERATOR, parse_scope(["*:shop"])), "stage", "fetch", False),
        (Caller("ana", Role.OPERATOR, parse_scope(["*:shop"])), "session", "shop", True),
        (Caller("ana", Role.OPERATOR, parse_scope(["*:shop"])), "session", "other", False),
    ],
)
def test_pause_buttons_are_refused_on_the_server(
    monkeypatch: pytest.MonkeyPatch, caller: Caller, kind: str, name: str, allowed: bool
) -> None:
    paused: list[tuple[str, str]] = []
    for method in ("begin", "complete"):  # without a catalogue
        monkeypatch.setattr(AuditEntry, method, lambda *_: None)
    monkeypatch.setattr(buttons, "pause", lambda *target, **_: paused.append(target) or 1)
    monkeypatch.setattr(buttons.ui, "notify", lambda *_, **__: None)
    monkeypatch.setattr(buttons.PAUSE_FEED, "changed", lambda: asyncio.sleep(0))
    monkeypatch.setattr(buttons.STATUS_POLLER, "refresh", lambda: asyncio.sleep(0))
    done = asyncio.run(buttons.change(View(caller=caller), kind, name, Action.PAUSE))  # type: ignore[arg-type]
    assert done is bool(paused) is allowed
