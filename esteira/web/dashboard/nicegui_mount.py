"""Mounts NiceGUI into the web app: its paths require the login and get the Content-Security-Policy."""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from functools import cache
from urllib.parse import parse_qs

from fastapi import FastAPI
from jinja2 import DictLoader
from nicegui import Client, ui
from nicegui import client as nicegui_client
from nicegui.language import Language
from starlette.datastructures import MutableHeaders
from starlette.middleware.gzip import GZipMiddleware
from starlette.requests import HTTPConnection
from starlette.responses import PlainTextResponse, RedirectResponse
from starlette.routing import BaseRoute, Match, compile_path
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from esteira.web.auth.logins import ADDRESS_KEY, CALLER_KEY, Logins, is_same_origin, login_path
from esteira.web.dashboard.headers import SECURITY_HEADERS, page_policy
from esteira.web.dashboard.pages import PAGES
from esteira.web.dashboard.plain import not_found_page
from esteira.web.dashboard.shell import add_pages
from esteira.web.dashboard.status_poller import STATUS_POLLER
from esteira.web.dashboard.view import view_of
from esteira.web.server.client_addresses import client_address
from pipeline.security.callers import ANONYMOUS

ASSETS, SOCKET, PAGES_UNDER = "/_nicegui/", "/_nicegui_ws/", "/dashboard/"
PAGE_SCOPE_KEY = "esteira.page"  # key in the ASGI scope: the values for the page's template
QUASAR: dict[str, Language] = {"en": "en-US", "pt-BR": "pt-BR"}
RECONNECT_S = 10.0
LOGIN_CHECK_S = 1.0  # how soon the pages of an ended login lose their connection
NO_RESPONSE = "No response returned."
GZIP_LEVEL = (
    2  # gzip level 1 to 9: level 9 takes five times as long and saves a tenth; files are compressed for each request
)
NICEGUI_MESSAGES = ("connection_lost", "trying_to_reconnect", "message_too_long", "message_too_long_body")
PREAMBLE = (
    "{% set page = request.scope['"
    + PAGE_SCOPE_KEY
    + "'] %}{% set language = page.quasar %}{% set html_lang = page.lang %}"
    "{% set dark = page.dark %}{% set translations = page.translations %}"
    "{% set body_html = body_html | replace('<style>', '<style nonce=\"' ~ page.nonce ~ '\">', 1) %}"
)
HIDDEN = 'style="display: none"'  # a style attribute, which no nonce can allow
# What PREAMBLE sets, as the template uses it. The style at the beginning of `body_html` gets its nonce there.
SET_BY_PREAMBLE = (
    "{{ body_html | safe }}",
    'lang="{{ html_lang }}"',
    ".get(dark",
    "{{ language }}",
    "{{ translations.",
)
NONCED = ("<script", "<style", '<link rel="modulepreload"')


def mount(app: FastAPI, logins: Logins) -> None:
    """Adds the pages to the app. NiceGUI exists once per process: two apps in one process share its pages."""
    inner = _inner()
    app.router.routes.append(AuthRoute(inner, logins))
    outer = app.router.lifespan_context

    @asynccontextmanager
    async def lifespan(running: FastAPI) -> AsyncIterator[None]:
        async with outer(running), inner.router.lifespan_context(inner):
            yield
            await STATUS_POLLER.close()

    app.router.lifespan_context = lifespan


@cache
def _inner() -> FastAPI:
    inner = FastAPI(docs_url=None, redoc_url=None, openapi_url=None)
    add_pages(PAGES)
    ui.run_with(
        inner,
        title="Esteira",
        favicon=None,
        tailwind=False,  # it writes styles at run time, which the policy forbids
        binding_refresh_interval=None,
        reconnect_timeout=RECONNECT_S,
        show_welcome_message=False,
        gzip_middleware_factory=_gzip,
    )
    templates = nicegui_client.templates.env
    assert templates.loader
    source, _, _ = templates.loader.get_source(templates, "index.html")
    templates.loader = DictLoader({"index.html": with_nonces(source)})
    return inner


def _gzip(app: ASGIApp) -> GZipMiddleware:
    return GZipMiddleware(app, compresslevel=GZIP_LEVEL)


def with_nonces(template: str) -> str:
    """NiceGUI's template with the page's nonce in each of its own scripts and styles; content gets none.

    Raises:
        RuntimeError: the template lacks something that is replaced here, as after an upgrade of NiceGUI.
    """
    for expected in (*NONCED, HIDDEN, *SET_BY_PREAMBLE):
        if expected not in template:
            raise RuntimeError(f"NiceGUI's template has no {expected} any more: adapt {__name__}")
    for tag in NONCED:
        template = template.replace(tag, f'{tag} nonce="{{{{ page.nonce }}}}"')
    return PREAMBLE + template.replace(HIDDEN, "hidden")


class AuthRoute(BaseRoute):
    """Route to NiceGUI's app for logged-in browsers."""

    def __init__(self, inner: ASGIApp, logins: Logins) -> None:
        self._inner = inner
        self._logins = logins
        self._pages = [(compile_path(page.path)[0], page) for page in PAGES]

    def matches(self, scope: Scope) -> tuple[Match, Scope]:
        """Matches NiceGUI's own paths and the dashboard's pages."""
        path = scope.get("path", "")
        ours = path == "/" or path.startswith((ASSETS, SOCKET, PAGES_UNDER))
        return (Match.FULL if ours and scope["type"] in {"http", "websocket"} else Match.NONE), {}

    async def handle(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Passes the request to NiceGUI, or answers 303 to the login, 401, 403 or 404."""
        connection = HTTPConnection(scope)
        login = self._logins.login_of(connection)
        path = scope["path"]
        if path.startswith(SOCKET):
            await self._connect(connection, login, receive, send)
        elif login is None:
            refusal = PlainTextResponse("log in first", 401) if path.startswith(ASSETS) else _to_login(path)
            await refusal(scope, receive, send)
        elif path.startswith(ASSETS):
            await self._show(scope, receive, send)
        else:
            viewer = {
                CALLER_KEY: self._logins.caller_of(login) or ANONYMOUS,
                ADDRESS_KEY: client_address(connection),
            }
            await self._answer_page({**scope, **viewer}, receive, send)

    async def _answer_page(self, scope: Scope, receive: Receive, send: Send) -> None:
        view = view_of(HTTPConnection(scope))
        page = next((page for pattern, page in self._pages if pattern.fullmatch(scope["path"])), None)
        if page is None:
            await not_found_page(view)(scope, receive, send)
        elif view.caller.may(page.permission):
            await self._show(scope, receive, send)
        else:  # the first page shows figures of all sessions
            first = next(other for _, other in self._pages if view.caller.may(other.permission))
            await RedirectResponse(first.path, 303, headers=SECURITY_HEADERS)(scope, receive, send)

    async def _show(self, scope: Scope, receive: Receive, send: Send) -> None:
        view = view_of(HTTPConnection(scope))
        nonce = secrets.token_urlsafe(16)
        quasar = QUASAR[view.language]
        translations = {name: view.t(f"shell.{name}") for name in NICEGUI_MESSAGES}
        page = {
            "nonce": nonce,
            "quasar": quasar,
            "lang": view.language,
            "dark": view.dark,
            "translations": translations,
        }
        guarded = {**SECURITY_HEADERS, "Content-Security-Policy": page_policy(nonce)}

        async def send_guarded(message: Message) -> None:
            if message["type"] == "http.response.start":
                MutableHeaders(scope=message).update(guarded)
            await send(message)

        try:
            await self._inner({**scope, PAGE_SCOPE_KEY: page}, receive, send_guarded)
        except RuntimeError as error:
            # The browser left before the page was sent; NiceGUI's middleware reports that as an error.
            if str(error) != NO_RESPONSE:
                raise

    async def _connect(self, connection: HTTPConnection, login: str | None, receive: Receive, send: Send) -> None:
        scope = connection.scope
        if login is None or not is_same_origin(connection) or not self._is_own_page(connection, login):
            if scope["type"] == "websocket":
                await send({"type": "websocket.close", "code": 1008})
            else:
                await PlainTextResponse("log in first", 403, headers=SECURITY_HEADERS)(scope, receive, send)
            return

        if scope["type"] == "websocket":
            receive = _while_valid(receive, lambda: self._logins.is_valid(login))
        await self._inner(scope, receive, send)

    def _is_own_page(self, connection: HTTPConnection, login: str) -> bool:
        """Whether the page that a WebSocket names was served to the same login."""
        named = parse_qs(connection.scope.get("query_string", b"").decode("latin-1")).get("client_id", [""])[0]
        client = Client.instances.get(named)
        return client is None or self._logins.login_of(client.request) == login


def _while_valid(receive: Receive, is_valid: Callable[[], bool]) -> Receive:
    """The messages of a WebSocket as long as its login is valid; then a disconnect, also if the browser sends nothing.

    NiceGUI closes the WebSocket after a disconnect.
    """

    async def receive_while_valid() -> Message:
        message = asyncio.ensure_future(receive())
        try:
            while is_valid():
                done, _ = await asyncio.wait({message}, timeout=LOGIN_CHECK_S)
                if done and is_valid():
                    return message.result()
        finally:
            message.cancel()
        return {"type": "websocket.disconnect", "code": 1008}

    return receive_while_valid


def _to_login(path: str) -> RedirectResponse:
    return RedirectResponse(login_path(path), 303, headers={**SECURITY_HEADERS, "Cache-Control": "no-store"})
