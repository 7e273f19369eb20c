"""NiceGUI within the web app: its own paths, each behind the login and under the policy of its page."""

from __future__ import annotations

import secrets
from collections.abc import AsyncIterator
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

from esteira.web.auth.logins import Logins, is_same_origin, login_path
from esteira.web.dashboard.headers import GUARDS, page_policy
from esteira.web.dashboard.pages import PAGES
from esteira.web.dashboard.plain import lost_page
from esteira.web.dashboard.shell import add_pages
from esteira.web.dashboard.status_poller import SAMPLER
from esteira.web.dashboard.view import view_of

ASSETS, SOCKET, PAGES_UNDER = "/_nicegui/", "/_nicegui_ws/", "/dashboard/"
FOR_PAGE = "esteira.page"  # in an ASGI scope: what the template of a page is told
QUASAR: dict[str, Language] = {"en": "en-US", "pt-BR": "pt-BR"}
RECONNECT_S = 10.0
UNANSWERED = "No response returned."
PACKED = 2  # of 9: files are packed anew for each browser, and the highest level takes five times as long for a tenth
SAID_BY_NICEGUI = ("connection_lost", "trying_to_reconnect", "message_too_long", "message_too_long_body")
PREAMBLE = (
    "{% set page = request.scope['" + FOR_PAGE + "'] %}{% set language = page.quasar %}{% set html_lang = page.lang %}"
    "{% set dark = page.dark %}{% set translations = page.translations %}"
    "{% set body_html = body_html | replace('<style>', '<style nonce=\"' ~ page.nonce ~ '\">', 1) %}"
)
HIDDEN = 'style="display: none"'  # in markup it is a style that no nonce can allow
NONCED = ("<script", "<style", '<link rel="modulepreload"')


def mount(app: FastAPI, logins: Logins) -> None:
    """Adds the pages to the app. NiceGUI exists once in a process, so two apps in one share its pages."""
    inner = _inner()
    gate = AuthRoute(inner, logins)
    app.router.routes.append(gate)
    outer = app.router.lifespan_context

    @asynccontextmanager
    async def both(running: FastAPI) -> AsyncIterator[None]:
        async with outer(running), inner.router.lifespan_context(inner):
            yield
            await SAMPLER.close()

    app.router.lifespan_context = both


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
        gzip_middleware_factory=_packed,
    )
    templates = nicegui_client.templates.env
    assert templates.loader
    source, _, _ = templates.loader.get_source(templates, "index.html")
    templates.loader = DictLoader({"index.html": with_nonces(source)})
    return inner


def _packed(app: ASGIApp) -> GZipMiddleware:
    return GZipMiddleware(app, compresslevel=PACKED)


def with_nonces(template: str) -> str:
    """NiceGUI's template with the page's nonce at each script and style of its own; content has none.

    Raises:
        RuntimeError: the template is not as it was: another version of NiceGUI needs another look.
    """
    for tag in NONCED:
        if tag not in template:
            raise RuntimeError(f"NiceGUI's template has no {tag} any more")
        template = template.replace(tag, f'{tag} nonce="{{{{ page.nonce }}}}"')
    return PREAMBLE + template.replace(HIDDEN, "hidden")


class AuthRoute(BaseRoute):
    """The way to NiceGUI's app for who is logged in."""

    def __init__(self, inner: ASGIApp, logins: Logins) -> None:
        self._inner = inner
        self._logins = logins
        self._pages = [compile_path(page.path)[0] for page in PAGES]

    def matches(self, scope: Scope) -> tuple[Match, Scope]:
        """Every request under NiceGUI's own paths and for a page."""
        path = scope.get("path", "")
        ours = path == "/" or path.startswith((ASSETS, SOCKET, PAGES_UNDER))
        return (Match.FULL if ours and scope["type"] in {"http", "websocket"} else Match.NONE), {}

    async def handle(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Passes it on, or answers itself: 303 to the login, 401, 403."""
        asked = HTTPConnection(scope)
        login = self._logins.login_of(asked)
        path = scope["path"]
        if path.startswith(SOCKET):
            await self._connect(asked, login, receive, send)
        elif login is None:
            refusal = PlainTextResponse("log in first", 401) if path.startswith(ASSETS) else _to_login(path)
            await refusal(scope, receive, send)
        elif not path.startswith(ASSETS) and not any(page.fullmatch(path) for page in self._pages):
            await lost_page(view_of(asked))(scope, receive, send)
        else:
            await self._show(scope, receive, send)

    async def _show(self, scope: Scope, receive: Receive, send: Send) -> None:
        view = view_of(HTTPConnection(scope))
        nonce = secrets.token_urlsafe(16)
        quasar = QUASAR[view.language]
        told = {"nonce": nonce, "quasar": quasar, "lang": view.language, "dark": view.dark}
        guarded = {**GUARDS, "Content-Security-Policy": page_policy(nonce)}

        async def send_guarded(message: Message) -> None:
            if message["type"] == "http.response.start":
                MutableHeaders(scope=message).update(guarded)
            await send(message)

        page = {**told, "translations": {name: view.t(f"shell.{name}") for name in SAID_BY_NICEGUI}}
        try:
            await self._inner({**scope, FOR_PAGE: page}, receive, send_guarded)
        except RuntimeError as error:
            # Whoever clicks on before a page has come is gone, which NiceGUI's middleware takes for a mistake.
            if str(error) != UNANSWERED:
                raise

    async def _connect(self, asked: HTTPConnection, login: str | None, receive: Receive, send: Send) -> None:
        scope = asked.scope
        if login is None or not is_same_origin(asked) or not self._is_own_page(asked, login):
            if scope["type"] == "websocket":
                await send({"type": "websocket.close", "code": 1008})
            else:
                await PlainTextResponse("log in first", 403, headers=GUARDS)(scope, receive, send)
            return

        async def receive_while_logged_in() -> Message:
            message = await receive()
            if scope["type"] == "websocket" and not self._logins.is_valid(login):
                return {"type": "websocket.disconnect", "code": 1008}
            return message

        await self._inner(scope, receive_while_logged_in, send)

    def _is_own_page(self, asked: HTTPConnection, login: str) -> bool:
        """Whether the page that a socket names was given to the same login."""
        named = parse_qs(asked.scope.get("query_string", b"").decode("latin-1")).get("client_id", [""])[0]
        client = Client.instances.get(named)
        return client is None or self._logins.login_of(client.request) == login


def _to_login(path: str) -> RedirectResponse:
    return RedirectResponse(login_path(path), 303, headers={**GUARDS, "Cache-Control": "no-store"})
