"""Access to the dashboard over plain HTTP: login, cookies, WebSockets, redirects and headers."""

from __future__ import annotations

import contextlib
import inspect
import json
import re
import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from importlib.resources import files
from urllib.parse import urlencode

import pytest
import websocket

from esteira.web.auth.guesses import MAX_FAILURES
from tests.support.system import ROOT, RunningSystem
from tests.support.valkey import free_port
from tests.support.web_server import TOKEN, Reply, WebServer, web_server

SOCKET = "/_nicegui_ws/socket.io/?EIO=4&transport=websocket"
PAGES = ("/", "/dashboard/sessions")


@pytest.fixture
def server(system: RunningSystem) -> Iterator[WebServer]:
    with web_server(system, dashboard="true") as running:
        yield running


def send(server: WebServer, path: str, *, headers: dict[str, str] | None = None, **fields: str) -> Reply:
    given = {"Content-Type": "application/x-www-form-urlencoded", **(headers or {})}
    return server.request("POST", path, urlencode(fields), headers=given)


def cookie_of(answer: Reply) -> dict[str, str]:
    return {"Cookie": answer.headers["set-cookie"].partition(";")[0]}


@pytest.fixture
def cookie(server: WebServer) -> dict[str, str]:
    answer = send(server, "/login", token=TOKEN)
    assert answer.status == 303
    return cookie_of(answer)


def connect(server: WebServer, **headers: str) -> websocket.WebSocket:
    url = f"ws://127.0.0.1:{server.port}{SOCKET}"
    origin = headers.pop("Origin", f"http://127.0.0.1:{server.port}")
    return websocket.create_connection(url, header=headers, origin=origin, timeout=20)


def test_pages_redirect_to_the_login_and_files_answer_401_without_one(
    server: WebServer, cookie: dict[str, str]
) -> None:
    assert server.request("GET", "/").headers["location"] == "/login"
    assert server.request("GET", "/dashboard/sessions").headers["location"] == "/login?next=/dashboard/sessions"
    assert server.request("GET", "/dashboard/no-such-page").status == 303, "what there is, strangers do not learn"
    page = server.request("GET", "/", headers=cookie).body.decode()
    files = set(re.findall(r'(/_nicegui/[^"\s)]+\.(?:js|css|mjs))', page))
    assert len(files) > 5
    for file in files:
        assert server.request("GET", file).status == 401
        assert server.request("GET", file, headers=cookie).status == 200


def test_unknown_page_answers_404(server: WebServer, cookie: dict[str, str]) -> None:
    answer = server.request("GET", "/dashboard/no-such-page", headers=cookie)
    assert answer.status == 404
    assert b"Page not found" in answer.body
    for path in ("/nothing", "/mediaa", "//dashboard/sessions"):
        assert server.request("GET", path, headers=cookie).code == "not_found"


@pytest.mark.parametrize("path", PAGES)
def test_every_page_has_security_headers_and_a_fresh_nonce(
    server: WebServer, cookie: dict[str, str], path: str
) -> None:
    nonces = set()
    for _ in range(2):
        answer = server.request("GET", path, headers=cookie)
        policy = answer.headers["content-security-policy"]
        assert "unsafe-inline" not in policy
        assert {"default-src 'none'", "frame-ancestors 'none'", "base-uri 'none'"} <= set(policy.split("; "))
        assert not re.search(r"https?:|\*", policy)
        [nonce] = set(re.findall(r"'nonce-([^']+)'", policy))
        nonces.add(nonce)
        page = answer.body.decode()
        for tag in re.findall(r"<(?:script|style)\b[^>]*>", page):
            assert f'nonce="{nonce}"' in tag
        assert " style=" not in page
        assert answer.headers["x-frame-options"] == "DENY"
        assert answer.headers["x-content-type-options"] == "nosniff"
        assert answer.headers["referrer-policy"] == "same-origin"
        assert answer.headers["cache-control"] == "no-store"
    assert len(nonces) == 2


def test_login_page_has_no_script_and_loads_only_its_stylesheet(server: WebServer) -> None:
    answer = server.request("GET", "/login")
    assert "script-src" not in answer.headers["content-security-policy"]
    assert "default-src 'none'" in answer.headers["content-security-policy"]
    assert b"<script" not in answer.body


@pytest.mark.parametrize("token", ["", "a guess", TOKEN + " ", TOKEN[:-1], "é"])
def test_login_accepts_only_the_api_token(server: WebServer, token: str) -> None:
    answer = send(server, "/login", token=token)
    assert answer.status == 401
    assert "set-cookie" not in answer.headers
    if token:
        assert token not in server.log_text()


def test_guesses_at_the_login_get_429_and_lock_out_no_one(server: WebServer) -> None:
    with ThreadPoolExecutor(8) as threads:
        guesses = list(threads.map(lambda _: send(server, "/login", token="a guess").status, range(MAX_FAILURES + 5)))
    assert sorted(guesses) == [401] * MAX_FAILURES + [429] * 5
    refused = send(server, "/login", token="a guess")
    assert refused.status == 429
    assert 0 < int(refused.headers["retry-after"]) <= 61
    assert "set-cookie" not in refused.headers
    assert send(server, "/login", token=TOKEN).status == 303


@pytest.mark.parametrize(
    "target",
    ["https://evil.example/", "//evil.example", "/\\evil.example", "javascript:alert(1)", "/dashboard//x", "/stats"],
)
def test_login_never_redirects_to_another_host(server: WebServer, target: str) -> None:
    assert send(server, "/login", token=TOKEN, next=target).headers["location"] == "/"
    assert send(server, "/login", token=TOKEN, next="/dashboard/sessions").headers["location"] == "/dashboard/sessions"


@pytest.mark.parametrize("path", ["/login", "/logout", "/preferences"])
def test_forms_from_another_origin_are_refused(server: WebServer, cookie: dict[str, str], path: str) -> None:
    fields = {"token": TOKEN, "language": "pt-BR"}
    for origin in ("https://evil.example", "null", f"http://127.0.0.1:{server.port + 1}"):
        answer = send(server, path, headers={**cookie, "Origin": origin}, **fields)
        assert answer.status == 403
        assert "set-cookie" not in answer.headers
    assert server.request("GET", "/", headers=cookie).status == 200, "the login holds on"


def test_oversized_form_is_refused(server: WebServer) -> None:
    assert server.request("POST", "/login", "token=" + "x" * 10_000).status == 413
    assert server.request("POST", "/login", b"\xff\xfe\x00").status == 401
    assert send(server, "/preferences", language="<script>", theme="blue").status == 303
    assert "set-cookie" not in send(server, "/preferences", language="<script>", theme="blue").headers


def test_api_ignores_the_login_cookie(server: WebServer, cookie: dict[str, str]) -> None:
    """What changes something needs a token in a header, which no page of a stranger can send."""
    query = [("GET", "/stats"), ("GET", "/media"), ("GET", "/metrics"), ("POST", "/media/replay")]
    query += [("DELETE", f"/media/{'0' * 32}"), ("POST", f"/media/{'0' * 32}/replay"), ("POST", "/hooks/media")]
    for method, path in query:
        assert server.request(method, path, b"{}", headers=cookie).status == 401, path


def refusal(server: WebServer, **headers: str) -> int:
    with pytest.raises(websocket.WebSocketBadStatusException) as refused:
        connect(server, **headers)
    return int(refused.value.status_code)


def test_websocket_requires_login_and_same_origin(server: WebServer, cookie: dict[str, str]) -> None:
    assert refusal(server) == 403
    assert refusal(server, Cookie="esteira_login=1.2.3") == 403
    assert refusal(server, **cookie, Origin="https://evil.example") == 403
    assert refusal(server, **cookie, Origin=f"http://127.0.0.1:{server.port + 1}") == 403
    polling = "/_nicegui_ws/socket.io/?EIO=4&transport=polling"
    assert server.request("GET", polling).status == 403
    assert server.request("GET", polling, headers={**cookie, "Origin": "https://evil.example"}).status == 403
    opened = connect(server, **cookie)
    assert opened.recv().startswith('0{"sid"')
    opened.close()


def test_websocket_closes_when_its_login_ends(server: WebServer, cookie: dict[str, str]) -> None:
    opened = connect(server, **cookie)
    opened.recv()
    assert send(server, "/logout", headers=cookie).status == 303
    opened.send("40")
    assert len(list(iter(opened.recv, ""))) < 5, "what comes last is that it is closed"
    assert refusal(server, **cookie) == 403
    assert server.request("GET", "/", headers=cookie).status == 303


def test_websocket_of_an_idle_page_closes_when_its_login_ends(server: WebServer, cookie: dict[str, str]) -> None:
    opened = connect(server, **cookie)
    opened.recv()
    assert send(server, "/logout", headers=cookie, everywhere="1").status == 303
    opened.settimeout(20)
    with contextlib.suppress(websocket.WebSocketConnectionClosedException):
        assert len(list(iter(opened.recv, ""))) < 5, "the browser sends nothing, and it is closed all the same"
    assert refusal(server, **cookie) == 403


def test_logout_survives_a_restart(system: RunningSystem) -> None:
    with web_server(system, dashboard="true") as server:
        cookie = cookie_of(send(server, "/login", token=TOKEN))
        kept = cookie_of(send(server, "/login", token=TOKEN))
        assert send(server, "/logout", headers=cookie).status == 303
    with web_server(system, dashboard="true") as server:
        assert server.request("GET", "/", headers=cookie).status == 303
        assert server.request("GET", "/", headers=kept).status == 200


def test_login_page_says_that_a_login_has_ended(server: WebServer, cookie: dict[str, str]) -> None:
    assert "Your login has ended" not in server.request("GET", "/login").body.decode()
    assert send(server, "/logout", headers=cookie).status == 303
    for language, shown in (("en", "Your login has ended: it"), ("pt-BR", "Seu acesso terminou: expirou")):
        answer = server.request("GET", "/login?next=/docs", headers={**cookie, "Accept-Language": language})
        assert answer.status == 200
        assert shown in answer.body.decode()
    assert server.request("GET", "/login", headers=cookie_of(send(server, "/login", token=TOKEN))).status == 303


def test_websocket_of_a_page_requires_the_login_that_opened_it(server: WebServer, cookie: dict[str, str]) -> None:
    page = server.request("GET", "/", headers=cookie).body.decode()
    [client] = re.findall(r'"?client_id"?\W+([0-9a-f-]{36})', page)
    other = cookie_of(send(server, "/login", token=TOKEN))
    path = f"/_nicegui_ws/socket.io/?EIO=4&transport=polling&client_id={client}"
    assert server.request("GET", path, headers=cookie).status == 200
    assert server.request("GET", path, headers=other).status == 403


def test_missing_api_token_page_says_how_to_set_one(system: RunningSystem) -> None:
    with web_server(system, dashboard="true", api_token="") as server:
        for path in ("/", "/login"):
            answer = server.request("GET", path, headers={"Accept-Language": "pt-BR"})
            assert answer.status == 503
            assert "API_TOKEN" in answer.body.decode()
            assert "Crie um, coloque no .env" in answer.body.decode()
        assert send(server, "/login", token="").status == 503
        assert server.request("GET", "/dashboard/sessions").status == 404


def test_dashboard_false_removes_all_its_paths(system: RunningSystem) -> None:
    with web_server(system, dashboard="false") as server:
        for path in ("/", "/login", "/dashboard/sessions", "/dashboard/static/dashboard.css"):
            assert server.request("GET", path).code == "not_found"


def test_dashboard_false_does_not_import_nicegui(system: RunningSystem) -> None:
    code = "import sys, esteira.web.app; sys.exit('nicegui' in sys.modules)"
    env = system.env | {"API_TOKEN": TOKEN}
    for settings, loaded in (({"DASHBOARD": "false"}, 0), ({"WEB_WORKERS": "2"}, 0), ({}, 1)):
        done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, env=env | settings, timeout=120, check=False)
        assert done.returncode == loaded, settings


def test_dashboard_with_several_web_workers_is_a_settings_error(system: RunningSystem) -> None:
    env = system.env | {"WEB_WORKERS": "2", "DASHBOARD": "true", "PORT": str(free_port())}
    command = [sys.executable, "-m", "esteira.web"]
    done = subprocess.run(command, cwd=ROOT, env=env, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 2
    assert re.match(r"esteira: DASHBOARD: .*WEB_WORKERS is 2", done.stderr)
    with web_server(system, dashboard="", web_workers="2") as server:
        assert server.request("GET", "/").code == "not_found"
        told = [json.loads(line) for line in server.log_text().splitlines() if "no dashboard" in line]
        assert {one["setting"] for one in told} == {"DASHBOARD"}


def test_server_stops_while_a_page_is_open(server: WebServer, cookie: dict[str, str]) -> None:
    opened = connect(server, **cookie)
    opened.recv()
    server.terminate()
    assert "Traceback" not in server.log_text()


def test_body_of_a_nicegui_page_begins_with_its_style() -> None:
    """The style that the template's preamble gives the nonce to."""
    from nicegui import Client

    assert "'body_html': '<style>'" in inspect.getsource(Client.build_response)


@pytest.mark.parametrize(
    "missing",
    [
        "<script",
        "<style",
        '<link rel="modulepreload"',
        'style="display: none"',
        "body_html",
        "html_lang",
        "translations",
    ],
)
def test_changed_nicegui_template_is_an_error(missing: str) -> None:
    from esteira.web.dashboard.nicegui_mount import with_nonces

    template = (files("nicegui") / "templates" / "index.html").read_text()
    assert 'nonce="{{ page.nonce }}"' in with_nonces(template)
    with pytest.raises(RuntimeError, match="NiceGUI's template has no"):
        with_nonces(template.replace(missing, "changed"))
