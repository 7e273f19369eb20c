"""`/docs`: for who may call, under the strictest policy, true to the description, and harmless whatever that says."""

from __future__ import annotations

import base64
import hashlib
import re
from collections.abc import Iterator
from html.parser import HTMLParser

import pytest
from fastapi.testclient import TestClient
from pydantic import SecretStr

from esteira.web.api.reference import page
from pipeline.security.tokens import TokenSigner
from tests.conftest import missing
from tests.support.browser import CHROMIUM, browser
from tests.support.system import RunningSystem
from tests.support.web import TOKEN, app_client
from tests.support.web_server import TOKEN as SERVER_TOKEN
from tests.support.web_server import WebServer, web_server

HOSTILE = "</code></p><script>alert(1)</script><img src=x onerror=alert(1)> `<b>`"
AS_BROWSER = {"Accept": "text/html,application/xhtml+xml"}


@pytest.fixture
def client(system: RunningSystem, monkeypatch: pytest.MonkeyPatch) -> Iterator[TestClient]:
    with app_client(system, monkeypatch) as client:
        yield client


class Seen(HTMLParser):
    """The elements of a page, its ids, and what its links lead to."""

    def __init__(self, markup: str) -> None:
        super().__init__()
        self.tags: set[str] = set()
        self.ids: list[str] = []
        self.links: set[str] = set()
        self.attributes: set[str] = set()
        self.feed(markup)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        given = {name: value or "" for name, value in attrs}
        self.tags.add(tag)
        self.attributes |= set(given)
        self.ids += [given["id"]] if "id" in given else []
        self.links |= {given[name] for name in ("href", "src") if name in given}


def test_api_05_only_who_may_call_sees_it(client: TestClient) -> None:
    for shown in ("", "Bearer wrong"):
        refused = client.get("/docs", headers={"Authorization": shown})
        assert (refused.status_code, "/media" in refused.text) == (401, False)
    session = TokenSigner(SecretStr(TOKEN)).session_token("shop", days=1)
    for shown in (f"Bearer {session}", f"Bearer {TOKEN}"):
        assert client.get("/docs", headers={"Authorization": shown}).status_code == 200


def test_it_tells_every_call_and_every_link_leads_somewhere(client: TestClient) -> None:
    described = client.get("/openapi.json").json()
    answer = client.get("/docs")
    seen = Seen(answer.text)
    for path, operations in described["paths"].items():
        for method, operation in operations.items():
            assert operation["operationId"] in seen.ids
            assert f"{method.upper()}</span> {path}</code>" in answer.text
    assert set(described["components"]["schemas"]) <= set(seen.ids)
    assert len(seen.ids) == len(set(seen.ids))
    assert {link.removeprefix("#") for link in seen.links} <= {*seen.ids, "/openapi.json", "data:,"}


def test_its_policy_allows_its_own_style_and_nothing_else(client: TestClient) -> None:
    answer = client.get("/docs")
    policy = answer.headers["Content-Security-Policy"]
    (style,) = re.findall(r"<style>(.*?)</style>", answer.text, flags=re.DOTALL)
    digest = base64.b64encode(hashlib.sha256(style.encode()).digest()).decode()
    assert f"style-src 'sha256-{digest}'" in policy
    assert policy.startswith("default-src 'none'")
    assert "unsafe" not in policy
    assert "http" not in policy
    seen = Seen(answer.text)
    assert seen.tags.isdisjoint({"script", "img", "iframe", "form", "object", "base"})
    assert not any(name.startswith("on") or name == "style" for name in seen.attributes)
    assert answer.headers["Cache-Control"] == "no-store"
    assert answer.headers["X-Content-Type-Options"] == "nosniff"


def test_what_stands_in_a_description_is_never_markup() -> None:
    shape = {"type": HOSTILE, "description": HOSTILE, "default": HOSTILE, "minimum": HOSTILE}
    operation = {
        "operationId": HOSTILE,
        "description": HOSTILE,
        "parameters": [{"name": HOSTILE, "in": HOSTILE, "schema": {"enum": [HOSTILE]}}],
        "requestBody": {"content": {HOSTILE: {"schema": {"properties": {HOSTILE: shape}}}}},
        "responses": {HOSTILE: {"content": {HOSTILE: {"schema": {"anyOf": [{"$ref": HOSTILE}, {"items": shape}]}}}}},
    }
    described = {
        "info": {"title": HOSTILE, "version": HOSTILE},
        "paths": {HOSTILE: {HOSTILE: operation}},
        "components": {"schemas": {HOSTILE: {"description": HOSTILE, "properties": {HOSTILE: shape}}}},
    }
    shown = Seen(page(described, address=HOSTILE))
    assert shown.tags.isdisjoint({"script", "img"})
    assert "onerror" not in shown.attributes


@pytest.fixture
def server(system: RunningSystem) -> Iterator[WebServer]:
    with web_server(system, dashboard="true") as running:
        yield running


def test_a_browser_is_led_to_the_login_and_a_program_is_told(server: WebServer) -> None:
    led = server.request("GET", "/docs", headers=AS_BROWSER)
    assert (led.status, led.headers["location"]) == (303, "/login?next=/docs")
    assert server.request("GET", "/docs").status == 401
    assert server.request("GET", "/docs", headers={**AS_BROWSER, "Authorization": "Bearer wrong"}).status == 401
    assert server.request("GET", "/docs", headers={**AS_BROWSER, "Cookie": "esteira_login=forged"}).status == 303
    assert server.request("GET", "/openapi.json", headers={"Cookie": "esteira_login=forged"}).status == 401


@pytest.mark.parametrize("phone", [False, True], ids=["desktop", "phone"])
def test_a_logged_in_browser_reads_it_and_asks_nobody_else(server: WebServer, phone: bool) -> None:
    if not CHROMIUM.exists():
        missing("chromium")
    with browser(server, phone=phone, dark=phone) as someone:
        shown = someone.log_in("/docs", token=SERVER_TOKEN)
        assert shown.url == someone.url("/docs")
        assert shown.inner_text("h1").startswith("Esteira API")
        shown.click("a:has-text('/media/{media_id}/replay')")
        assert shown.evaluate("document.querySelector(':target h2').getBoundingClientRect().top") < 200
        width = shown.evaluate("[document.documentElement.scrollWidth, window.innerWidth]")
        assert width[0] <= width[1]
        assert shown.evaluate("getComputedStyle(document.querySelector('main')).maxWidth") == "960px"
        assert shown.request.get(someone.url("/openapi.json")).status == 200
        assert someone.complaints == []
        assert someone.hosts == {f"127.0.0.1:{server.port}"}
