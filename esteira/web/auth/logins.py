"""Browser logins: a signed cookie, issued for the API_TOKEN or a user's token.

The cookie opens the dashboard, `/docs` and `/openapi.json`. No call of the API accepts it: a change needs a token in a
header, which a page of another site cannot send. A login that is ended is recorded in the catalogue, so that it ends in
all processes and stays ended after a restart.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from urllib.parse import quote

from starlette.requests import HTTPConnection
from starlette.responses import Response

from esteira.web.auth.access_list import MAX_AGE_S, AccessList
from pipeline.config.settings import Settings
from pipeline.errors import SettingsError
from pipeline.security.callers import API_TOKEN_CALLER, Caller
from pipeline.security.tokens import LOGIN_LIFETIME_S, TokenSigner

COOKIE = "esteira_login"
CALLER_KEY = "esteira.caller"  # in the ASGI scope of a page: who is logged in
ADDRESS_KEY = "esteira.address"  # the same for the address of the client


class Logins:
    """The logins. A change of the API_TOKEN ends all of them: their key is derived from it."""

    def __init__(self, settings: Settings, access: AccessList, *, clock: Callable[[], float] = time.time) -> None:
        """`clock` returns Unix seconds.

        Raises:
            SettingsError: API_TOKEN is not set or too short.
        """
        self._signer = TokenSigner(settings.api_token, clock=clock)
        self._access = access
        self._clock = clock

    def login_of(self, request: HTTPConnection) -> str | None:
        """The valid login of a request or a WebSocket; None without one."""
        login = request.cookies.get(COOKIE)
        return login if login and self.is_valid(login) else None

    def has_ended(self, request: HTTPConnection) -> bool:
        """Whether a browser shows a login that is not valid any more. False while the tokens cannot be checked."""
        return COOKIE in request.cookies and self._access.age_s <= MAX_AGE_S and self.login_of(request) is None

    def is_valid(self, login: str) -> bool:
        """Whether a login is genuine and neither it nor its token has expired or was ended."""
        return self.caller_of(login) is not None

    def caller_of(self, login: str) -> Caller | None:
        """Who is logged in; None if the login is not valid."""
        parts = self._signer.read_login(login)
        if parts is None or self._clock() >= parts.began_at / 1000 + LOGIN_LIFETIME_S:
            return None
        caller = self._caller_of_token(parts.token_id)
        return None if caller is None or self._access.is_login_ended(parts, caller.name) else caller

    def _caller_of_token(self, token_id: str) -> Caller | None:
        if not token_id:
            return API_TOKEN_CALLER
        return self._access.user(token_id) if self._access.age_s <= MAX_AGE_S else None

    def log_in(self, response: Response, caller: Caller, *, secure: bool) -> None:
        """Sets the login cookie in a response. `secure`: the browser uses HTTPS."""
        login = self._signer.login(caller.token_id or "")
        response.set_cookie(COOKIE, login, max_age=LOGIN_LIFETIME_S, httponly=True, samesite="strict", secure=secure)

    def log_out(self, login: str, response: Response, *, everywhere: bool = False) -> None:
        """Ends a login before it expires, including all copies of its cookie; `everywhere`: all logins of its user.

        It ends at once in this process, and within seconds in all others.
        """
        parts, caller = self._signer.read_login(login), self.caller_of(login)
        until_s = self._clock() + LOGIN_LIFETIME_S
        if parts:
            self._access.end("login", parts.id, until_s=until_s)
        if caller and everywhere:
            self._access.end("logins-of", caller.name, until_s=until_s)
        response.delete_cookie(COOKIE, httponly=True, samesite="strict")


def login_caller(request: HTTPConnection) -> Caller | None:
    """Who is logged in to the dashboard of this app in the browser that sent a request; None without a login."""
    logins: Logins | None = getattr(request.app.state, "logins", None)
    login = logins.login_of(request) if logins else None
    return logins.caller_of(login) if logins and login else None


def logged_in(request: HTTPConnection) -> bool:
    """Whether a request comes from a browser that is logged in to the dashboard of this app."""
    return login_caller(request) is not None


def build_logins(settings: Settings, access: AccessList) -> Logins | None:
    """The logins for these settings; None without an API_TOKEN, or if it is too short."""
    try:
        return Logins(settings, access)
    except SettingsError:
        return None


def login_path(target: str) -> str:
    """The path of the login page that redirects to `target` after the login."""
    return "/login" if target == "/" else f"/login?next={quote(target, safe='/')}"


def is_same_origin(request: HTTPConnection) -> bool:
    """Whether a request was sent by a page of this host, or not by a page in a browser.

    Browsers always send the Origin header with a form and a WebSocket.
    """
    origin = request.headers.get("origin")
    if origin is None:
        return request.headers.get("sec-fetch-site", "none") in {"none", "same-origin"}
    _, separator, host = origin.partition("://")
    return bool(separator) and host == request.headers.get("host", "")


def is_https(request: HTTPConnection) -> bool:
    """Whether the browser uses HTTPS, to this server or to the proxy in front of it."""
    return "https" in {request.url.scheme, request.headers.get("x-forwarded-proto", "").split(",")[0].strip()}
