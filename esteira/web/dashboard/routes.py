"""Login, logout, preferences and static files of the dashboard. None of them needs NiceGUI."""

from __future__ import annotations

from importlib import import_module, resources
from urllib.parse import parse_qs

import structlog
from fastapi import FastAPI, Request
from fastapi.responses import RedirectResponse, Response
from starlette.exceptions import HTTPException

from esteira.web.auth.logins import Logins, build_logins, is_https, is_same_origin
from esteira.web.dashboard.headers import SECURITY_HEADERS
from esteira.web.dashboard.plain import closed_page, login_page
from esteira.web.dashboard.texts import LANGUAGES
from esteira.web.dashboard.view import LANGUAGE_COOKIE, THEME_COOKIE, THEMES, view_of
from esteira.web.intake.bodies import BodyReader, Terms
from esteira.web.server.client_addresses import client_group
from pipeline.config.settings import Settings

YEAR_S = 365 * 24 * 3600
CACHE_S = 3600
FORM = Terms("dashboard", verified=False, max_bytes=8192)
FILES = {
    "dashboard.css": "text/css",
    "dashboard.js": "text/javascript",
    "icon.svg": "image/svg+xml",
    "media.css": "text/css",
    "media.js": "text/javascript",
}

log = structlog.get_logger(__name__)


class DashboardRoutes:
    """The routes that need no login."""

    def __init__(self, logins: Logins | None, bodies: BodyReader) -> None:
        self._logins = logins
        self._bodies = bodies

    def add_routes(self, app: FastAPI) -> None:
        app.get("/login", include_in_schema=False)(self.show)
        app.post("/login", include_in_schema=False)(self.enter)
        app.post("/logout", include_in_schema=False)(self.leave)
        app.post("/preferences", include_in_schema=False)(self.prefer)
        app.get("/dashboard/static/{name}", include_in_schema=False)(self.file)
        if self._logins is None:
            app.get("/", include_in_schema=False)(self.show)

    async def show(self, request: Request) -> Response:
        """The login page, or how to set an API_TOKEN."""
        view = view_of(request)
        if self._logins is None:
            return closed_page(view)
        target = _safe_target(request.query_params.get("next", "/"))
        return RedirectResponse(target, 303) if self._logins.login_of(request) else login_page(view, target=target)

    async def enter(self, request: Request) -> Response:
        """Checks the API_TOKEN and sets the login cookie."""
        view = view_of(request)
        if self._logins is None:
            return closed_page(view)
        form = await self._form(request)
        target = _safe_target(form.get("next", "/"))
        if not is_same_origin(request):
            return login_page(view, target=target, fault=view.t("login.foreign"), status=403)
        address = client_group(request)
        if wait_s := self._logins.lockout_s(address):
            fault = view.t("login.wait", seconds=int(wait_s) + 1)
            return login_page(view, target=target, fault=fault, status=429, wait_s=wait_s)
        if not self._logins.is_api_token(form.get("token", "")):
            self._logins.record_failure(address)
            log.warning("login refused: the token is wrong", address=address)
            return login_page(view, target=target, fault=view.t("login.wrong"), status=401)
        answer = RedirectResponse(target, 303, headers={"Cache-Control": "no-store"})
        self._logins.log_in(answer, secure=is_https(request))
        return answer

    async def leave(self, request: Request) -> Response:
        """Ends the login; its open pages close."""
        _check_origin(request)
        answer = RedirectResponse("/login", 303)
        if self._logins and (login := self._logins.login_of(request)):
            self._logins.log_out(login, answer)
        return answer

    async def prefer(self, request: Request) -> Response:
        """Stores language or appearance in a cookie."""
        _check_origin(request)
        form = await self._form(request)
        answer = RedirectResponse(_safe_target(form.get("next", "/")), 303)
        for name, cookie, known in (("language", LANGUAGE_COOKIE, LANGUAGES), ("theme", THEME_COOKIE, THEMES)):
            if (chosen := form.get(name)) in known:
                answer.set_cookie(
                    cookie, str(chosen), max_age=YEAR_S, httponly=True, samesite="strict", secure=is_https(request)
                )
        return answer

    async def file(self, name: str) -> Response:
        """A stylesheet, script or picture."""
        if name not in FILES:
            raise HTTPException(404)
        content = (resources.files("esteira.web.dashboard") / "static" / name).read_bytes()
        return Response(
            content, headers={**SECURITY_HEADERS, "Cache-Control": f"max-age={CACHE_S}"}, media_type=FILES[name]
        )

    async def _form(self, request: Request) -> dict[str, str]:
        async with self._bodies.read_body(request, FORM) as body:
            fields = parse_qs(body.decode("utf-8", "replace"), keep_blank_values=True, max_num_fields=8)
        return {name: values[0] for name, values in fields.items()}


def add_dashboard(app: FastAPI, settings: Settings, bodies: BodyReader) -> None:
    """Adds the dashboard to the app if the settings enable it; `app.state.logins` then holds the logins."""
    if not settings.has_dashboard:
        return
    logins = build_logins(settings)
    app.state.logins = logins
    DashboardRoutes(logins, bodies).add_routes(app)
    if logins is not None:
        import_module("esteira.web.dashboard.nicegui_mount").mount(app, logins)


def _safe_target(target: str) -> str:
    """The target if it is a path of the dashboard, `/login` or `/docs`; else `/`, so that no other host is opened."""
    inside = target in {"/login", "/docs"} or target.startswith("/dashboard/")
    return target if inside and "\\" not in target and "//" not in target and target.isprintable() else "/"


def _check_origin(request: Request) -> None:
    if not is_same_origin(request):
        raise HTTPException(403, "the request comes from a page of another origin")
