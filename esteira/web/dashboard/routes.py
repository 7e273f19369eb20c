"""Login, logout, preferences and static files of the dashboard. None of them needs NiceGUI."""

from __future__ import annotations

import asyncio
from importlib import import_module
from urllib.parse import parse_qs

import structlog
from fastapi import FastAPI, Request
from fastapi.responses import RedirectResponse, Response
from starlette.concurrency import run_in_threadpool
from starlette.exceptions import HTTPException

from esteira.web.auth.access import Authenticator
from esteira.web.auth.audited import record_login
from esteira.web.auth.guesses import FailureCounts
from esteira.web.auth.logins import Logins, build_logins, is_https, is_same_origin
from esteira.web.dashboard import static_files
from esteira.web.dashboard.attachments.source_uploads import PATH as SOURCES
from esteira.web.dashboard.attachments.source_uploads import replay_with_file
from esteira.web.dashboard.headers import SECURITY_HEADERS
from esteira.web.dashboard.plain import closed_page, login_page
from esteira.web.dashboard.texts import LANGUAGES
from esteira.web.dashboard.view import LANGUAGE_COOKIE, THEME_COOKIE, THEMES, view_of
from esteira.web.errors import status_of
from esteira.web.intake.bodies import BodyReader, Terms
from esteira.web.server.client_addresses import client_group
from pipeline.catalogue import Action
from pipeline.config.settings import Settings
from pipeline.errors import Code, PayloadError, PipelineError, RetryableError
from pipeline.extras import install_command, is_installed
from pipeline.security.callers import ANONYMOUS, OF_SESSION_TOKEN, Caller, ForbiddenError
from pipeline.security.roles import Permission

YEAR_S = 365 * 24 * 3600
CACHE_S = 3600
MAX_FIELDS = 8
FORM = Terms("dashboard", verified=False, max_bytes=8192)
MAX_LOGINS = 30  # of one user in a minute: each of them, and each logout, is a row in the catalogue
REFUSAL_DELAY_S = 0.5  # before a wrong token is answered
TOO_MANY = 429
LOGIN_FAULTS = {401: "login.wrong", 403: "login.forbidden", TOO_MANY: "login.wait"}

log = structlog.get_logger(__name__)


class DashboardRoutes:
    """The routes that need no login."""

    def __init__(self, logins: Logins | None, authenticator: Authenticator, bodies: BodyReader) -> None:
        self._logins = logins
        self._authenticator = authenticator
        self._bodies = bodies
        self._counts = FailureCounts(max_failures=MAX_LOGINS)

    def add_routes(self, app: FastAPI) -> None:
        app.get("/login", include_in_schema=False)(self.show)
        app.post("/login", include_in_schema=False)(self.enter)
        app.post("/logout", include_in_schema=False)(self.leave)
        app.post("/preferences", include_in_schema=False)(self.prefer)
        app.get("/dashboard/static/{name}", include_in_schema=False)(self.file)
        app.post(f"{SOURCES}{{media_id}}", include_in_schema=False)(replay_with_file)
        if self._logins is None:
            app.get("/", include_in_schema=False)(self.show)

    async def show(self, request: Request) -> Response:
        """The login page, or how to set an API_TOKEN."""
        view = view_of(request)
        if self._logins is None:
            return closed_page(view)
        target = _safe_target(request.query_params.get("next", "/"))
        if self._logins.login_of(request):
            return RedirectResponse(target, 303)
        fault = view.t("login.ended") if self._logins.has_ended(request) else ""
        return login_page(view, target=target, fault=fault)

    async def enter(self, request: Request) -> Response:
        """Checks the token and sets the login cookie."""
        view = view_of(request)
        if self._logins is None:
            return closed_page(view)
        form = await self._form(request)
        target = _safe_target(form.get("next", "/"))
        if not is_same_origin(request):
            return login_page(view, target=target, fault=view.t("login.foreign"), status=403)
        try:
            caller = await self._caller(form.get("token", ""), request)
        except PipelineError as error:
            if not isinstance(error, RetryableError):
                await record_login(request, Action.LOGIN, ANONYMOUS)
            await asyncio.sleep(REFUSAL_DELAY_S)
            return _refuse_login(request, error, target=target)
        await record_login(request, Action.LOGIN, caller)
        answer = RedirectResponse(target, 303, headers={"Cache-Control": "no-store"})
        self._logins.log_in(answer, caller, secure=is_https(request))
        log.info("login", user=caller.name, role=caller.role.value)
        return answer

    async def _caller(self, token: str, request: Request) -> Caller:
        """The caller of a token that may log in.

        Raises:
            PipelineError: the token is wrong, opens no dashboard, or has logged in too often.
        """
        caller = await self._authenticator.caller_of_token(token, request)
        caller.require(Permission.READ)
        if caller.name == OF_SESSION_TOKEN:
            raise ForbiddenError("the token of a session opens no dashboard")
        wait_s = self._counts.record(caller.token_id) if caller.token_id else 0
        if wait_s:
            raise RetryableError(Code.TOO_MANY_REQUESTS, "too many logins with this token", retry_after=wait_s)
        return caller

    async def leave(self, request: Request) -> Response:
        """Ends the login, with `everywhere` all logins of the same user; their open pages close."""
        _check_origin(request)
        form = await self._form(request)
        answer = RedirectResponse("/login", 303)
        if self._logins and (login := self._logins.login_of(request)):
            caller = self._logins.caller_of(login)
            everywhere = "everywhere" in form
            self._logins.log_out(login, answer, everywhere=everywhere)
            await run_in_threadpool(self._authenticator.access.refresh)  # to record it
            if caller:
                await record_login(request, Action.LOGOUT, caller, {"everywhere": True} if everywhere else {})
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
        if name not in static_files.TYPES:
            raise HTTPException(404)
        headers = {**SECURITY_HEADERS, "Cache-Control": f"max-age={CACHE_S}"}
        return Response(static_files.content(name), headers=headers, media_type=static_files.TYPES[name])

    async def _form(self, request: Request) -> dict[str, str]:
        async with self._bodies.read_body(request, FORM) as body:
            try:
                fields = parse_qs(body.decode("utf-8", "replace"), keep_blank_values=True, max_num_fields=MAX_FIELDS)
            except ValueError:
                raise PayloadError("", f"the form has more than {MAX_FIELDS} fields") from None
        return {name: values[0] for name, values in fields.items()}


def add_dashboard(app: FastAPI, settings: Settings, authenticator: Authenticator, bodies: BodyReader) -> None:
    """Adds the dashboard to the app if the settings enable it; `app.state.logins` then holds the logins."""
    if not settings.has_dashboard:
        return
    if not is_installed("dashboard"):
        log.warning("no dashboard: the extra `dashboard` is not installed", remedy=install_command("dashboard"))
        return
    logins = build_logins(settings, authenticator.access)
    app.state.logins = logins
    DashboardRoutes(logins, authenticator, bodies).add_routes(app)
    if logins is not None:
        import_module("esteira.web.dashboard.nicegui_mount").mount(app, logins)


def _refuse_login(request: Request, error: PipelineError, *, target: str) -> Response:
    view = view_of(request)
    status = status_of(error)
    if status != TOO_MANY:  # at most as many lines as an address has failures
        log.warning("login refused", code=error.code.value, address=client_group(request))
    wait_s = (error.retry_after or 0.0) if isinstance(error, RetryableError) else 0.0
    fault = view.t(LOGIN_FAULTS.get(status, "login.away"), seconds=int(wait_s) + 1)
    return login_page(view, target=target, fault=fault, status=status, wait_s=wait_s)


def _safe_target(target: str) -> str:
    """The target if it is a path of the dashboard, `/login` or `/docs`; else `/`, so that no other host is opened."""
    inside = target in {"/login", "/docs"} or target.startswith("/dashboard/")
    return target if inside and "\\" not in target and "//" not in target and target.isprintable() else "/"


def _check_origin(request: Request) -> None:
    if not is_same_origin(request):
        raise HTTPException(403, "the request comes from a page of another origin")
