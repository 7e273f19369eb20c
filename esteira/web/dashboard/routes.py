"""The way into the dashboard: login, logout, preferences and its own files. None of it needs NiceGUI."""

from __future__ import annotations

from importlib import import_module, resources
from urllib.parse import parse_qs

import structlog
from fastapi import FastAPI, Request
from fastapi.responses import RedirectResponse, Response
from starlette.exceptions import HTTPException

from esteira.web.auth.logins import Logins, build_logins, is_https, is_same_origin
from esteira.web.dashboard.headers import GUARDS
from esteira.web.dashboard.plain import closed_page, login_page
from esteira.web.dashboard.texts import LANGUAGES
from esteira.web.dashboard.view import LANGUAGE_COOKIE, THEME_COOKIE, THEMES, view_of
from esteira.web.intake.bodies import BodyReader
from pipeline.config.settings import Settings

YEAR_S = 365 * 24 * 3600
KEPT_S = 3600
LONGEST_FORM = 8192
FILES = {
    "dashboard.css": "text/css",
    "dashboard.js": "text/javascript",
    "icon.svg": "image/svg+xml",
    "media.css": "text/css",
    "media.js": "text/javascript",
}

log = structlog.get_logger(__name__)


class DashboardRoutes:
    """Whoever is not logged in sees this and nothing else."""

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
        """The login, or what to set before there is one."""
        view = view_of(request)
        if self._logins is None:
            return closed_page(view)
        target = _inside(request.query_params.get("next", "/"))
        return RedirectResponse(target, 303) if self._logins.login_of(request) else login_page(view, target=target)

    async def enter(self, request: Request) -> Response:
        """Gives a login for the API_TOKEN."""
        view = view_of(request)
        if self._logins is None:
            return closed_page(view)
        form = await self._form(request)
        target = _inside(form.get("next", "/"))
        if not is_same_origin(request):
            return login_page(view, target=target, fault=view.t("login.foreign"), status=403)
        address = request.client.host if request.client else ""
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
        """Ends the login; its open pages close themselves."""
        _check_origin(request)
        answer = RedirectResponse("/login", 303)
        if self._logins and (login := self._logins.login_of(request)):
            self._logins.log_out(login, answer)
        return answer

    async def prefer(self, request: Request) -> Response:
        """Remembers language or appearance in this browser."""
        _check_origin(request)
        form = await self._form(request)
        answer = RedirectResponse(_inside(form.get("next", "/")), 303)
        for name, cookie, known in (("language", LANGUAGE_COOKIE, LANGUAGES), ("theme", THEME_COOKIE, THEMES)):
            if (chosen := form.get(name)) in known:
                answer.set_cookie(
                    cookie, str(chosen), max_age=YEAR_S, httponly=True, samesite="strict", secure=is_https(request)
                )
        return answer

    async def file(self, name: str) -> Response:
        """A style, script or picture of ours."""
        if name not in FILES:
            raise HTTPException(404)
        content = (resources.files("esteira.web.dashboard") / "static" / name).read_bytes()
        return Response(content, headers={**GUARDS, "Cache-Control": f"max-age={KEPT_S}"}, media_type=FILES[name])

    async def _form(self, request: Request) -> dict[str, str]:
        announced = request.headers.get("content-length", "")
        if announced.isdecimal() and int(announced) > LONGEST_FORM:
            raise HTTPException(413, "this is no form of ours")
        async with self._bodies.read_body(request) as body:
            if len(body) > LONGEST_FORM:
                raise HTTPException(413, "this is no form of ours")
            fields = parse_qs(body.decode("utf-8", "replace"), keep_blank_values=True, max_num_fields=8)
        return {name: values[0] for name, values in fields.items()}


def add_dashboard(app: FastAPI, settings: Settings, bodies: BodyReader) -> None:
    """Adds the dashboard to the app if its settings have one; `app.state.logins` knows who is logged in to it."""
    if not settings.has_dashboard:
        return
    logins = build_logins(settings)
    app.state.logins = logins
    DashboardRoutes(logins, bodies).add_routes(app)
    if logins is not None:
        import_module("esteira.web.dashboard.nicegui_mount").mount(app, logins)


def _inside(target: str) -> str:
    """A path of the dashboard or `/docs`; the first page instead of anything else, above all of another host."""
    inside = target in {"/login", "/docs"} or target.startswith("/dashboard/")
    return target if inside and "\\" not in target and "//" not in target and target.isprintable() else "/"


def _check_origin(request: Request) -> None:
    if not is_same_origin(request):
        raise HTTPException(403, "this was sent from a page of another origin")
