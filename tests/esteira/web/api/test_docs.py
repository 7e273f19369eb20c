"""`/docs`: Swagger UI for callers with a token or a login, from this host alone, under a strict policy."""

from __future__ import annotations

import base64
import hashlib
import re
from collections.abc import Iterator

import pytest
from fastapi.testclient import TestClient
from playwright.sync_api import expect
from pydantic import SecretStr

from pipeline.security.tokens import TokenSigner
from tests.conftest import missing
from tests.support.browser import CHROMIUM, PATIENCE_MS, browser
from tests.support.system import RunningSystem
from tests.support.web import TOKEN, app_client
from tests.support.web_server import TOKEN as SERVER_TOKEN
from tests.support.web_server import WebServer, web_server

AS_BROWSER = {"Accept": "text/html,application/xhtml+xml"}
FILES = ("/docs/swagger-ui-bundle.js", "/docs/swagger-ui.css")


@pytest.fixture
def client(system: RunningSystem, monkeypatch: pytest.MonkeyPatch) -> Iterator[TestClient]:
    with app_client(system, monkeypatch) as client:
        yield client


def test_api_05_docs_need_a_token(client: TestClient) -> None:
    for path in ("/docs", *FILES):
        for header in ("", "Bearer wrong"):
            assert client.get(path, headers={"Authorization": header}).status_code == 401
    session = TokenSigner(SecretStr(TOKEN)).session_token("shop", gateway="media", days=1)
    for header in (f"Bearer {session}", f"Bearer {TOKEN}"):
        for path in ("/docs", *FILES):
            assert client.get(path, headers={"Authorization": header}).status_code == 200


def test_docs_serve_only_the_files_of_swagger_ui(client: TestClient) -> None:
    for name in ("favicon.png", "redoc.standalone.js", "..%2fcore.py", "%2e%2e/core.py"):
        assert client.get(f"/docs/{name}").status_code == 404


def test_docs_policy_allows_own_files_and_one_inline_script(client: TestClient) -> None:
    answer = client.get("/docs")
    policy = answer.headers["Content-Security-Policy"]
    [script] = re.findall(r"<script>(.*?)</script>", answer.text, flags=re.DOTALL)
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    assert f"script-src 'self' 'sha256-{digest}'" in policy
    assert policy.startswith("default-src 'none'")
    assert "unsafe-eval" not in policy
    assert "http" not in policy
    assert answer.headers["Cache-Control"] == "no-store"
    assert answer.headers["X-Content-Type-Options"] == "nosniff"
    assert answer.headers["X-Frame-Options"] == "DENY"


def test_docs_link_no_other_host(client: TestClient) -> None:
    addresses = re.findall(r'(?:href|src)="([^"]*)"', client.get("/docs").text)
    assert set(addresses) == {*FILES, "data:,"}


@pytest.fixture
def server(system: RunningSystem) -> Iterator[WebServer]:
    with web_server(system, dashboard="true") as running:
        yield running


def test_docs_redirect_browsers_to_the_login_and_refuse_programs(server: WebServer) -> None:
    redirect = server.request("GET", "/docs", headers=AS_BROWSER)
    assert (redirect.status, redirect.headers["location"]) == (303, "/login?next=/docs")
    assert server.request("GET", "/docs").status == 401
    assert server.request("GET", "/docs", headers={**AS_BROWSER, "Authorization": "Bearer wrong"}).status == 401
    assert server.request("GET", "/docs", headers={**AS_BROWSER, "Cookie": "esteira_login=forged"}).status == 303
    assert server.request("GET", "/openapi.json", headers={"Cookie": "esteira_login=forged"}).status == 401


@pytest.mark.parametrize("phone", [False, True], ids=["desktop", "phone"])
def test_swagger_ui_shows_the_calls_and_makes_one_with_a_token(server: WebServer, phone: bool) -> None:
    if not CHROMIUM.exists():
        missing("chromium")
    with browser(server, phone=phone, dark=phone) as user:
        page = user.page
        page.goto(user.url("/docs"))
        page.fill("#token", SERVER_TOKEN)
        page.keyboard.press("Enter")
        expect(page.locator(".info .title")).to_contain_text("Esteira", timeout=PATIENCE_MS)
        assert page.url == user.url("/docs")
        page.click("button.authorize")
        page.fill("#auth-bearer-value, .auth-container input", SERVER_TOKEN)
        page.click(".auth-container button.authorize")
        page.click(".auth-container .btn-done")
        operation = page.locator("#operations-media-list_media_media_get")
        operation.locator("button.opblock-summary-control").click()
        operation.locator("button.try-out__btn").click()
        operation.locator("button.execute").click()
        expect(operation.locator(".live-responses-table tr.response .response-col_status")).to_contain_text(
            "200", timeout=PATIENCE_MS
        )
        assert page.request.get(user.url("/openapi.json")).status == 200
        assert user.complaints == []
        assert user.hosts == {f"127.0.0.1:{server.port}"}
