"""Browser logins: a signed cookie, issued for the API_TOKEN. The server stores only the logins that were ended.

The cookie opens the dashboard, `/docs` and `/openapi.json`. No call of the API accepts it: a change needs a token in a
header, which a page of another site cannot send.
"""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable
from urllib.parse import quote

from starlette.requests import HTTPConnection
from starlette.responses import Response

from pipeline.config.settings import Settings
from pipeline.errors import SettingsError
from pipeline.gateways.verification import constant_time_equal
from pipeline.security.tokens import TokenSigner

COOKIE = "esteira_login"
CALLER_KEY = "esteira.caller"  # in the ASGI scope of a page: who is logged in
LOGIN_LIFETIME_S = 12 * 3600
WINDOW_S = 60.0  # in which wrong tokens are counted
MAX_FAILURES_PER_ADDRESS = 5
MAX_FAILURES_TOTAL = 30  # from all addresses: an attacker may have many


class Logins:
    """The logins of this process. A change of the API_TOKEN ends all of them: their key is derived from it."""

    def __init__(self, settings: Settings, *, clock: Callable[[], float] = time.time) -> None:
        """`clock` returns Unix seconds.

        Raises:
            SettingsError: API_TOKEN is not set or too short.
        """
        self._token = settings.api_token.get_secret_value() if settings.api_token else ""
        self._signer = TokenSigner(settings.api_token, clock=clock)
        self._clock = clock
        self._ended: dict[str, int] = {}  # login → when it would have expired, in Unix seconds
        self._failures: deque[tuple[float, str]] = deque()

    def login_of(self, request: HTTPConnection) -> str | None:
        """The valid login of a request or a WebSocket; None without one."""
        login = request.cookies.get(COOKIE)
        return login if login and self.is_valid(login) else None

    def is_valid(self, login: str) -> bool:
        """Whether a login is genuine, has not expired and was not ended."""
        return login not in self._ended and self._signer.login_expiry(login) is not None

    def is_api_token(self, token: str) -> bool:
        """Whether this is the API_TOKEN. The comparison takes the same time for every token."""
        return constant_time_equal(token, self._token)

    def lockout_s(self, address: str) -> float:
        """How many seconds an address must wait before its next attempt; 0 if it may try now."""
        now = self._clock()
        while self._failures and now - self._failures[0][0] >= WINDOW_S:
            self._failures.popleft()
        own = [at for at, failed_address in self._failures if failed_address == address]
        if len(own) >= MAX_FAILURES_PER_ADDRESS:
            return own[-MAX_FAILURES_PER_ADDRESS] + WINDOW_S - now
        if len(self._failures) >= MAX_FAILURES_TOTAL:
            return self._failures[-MAX_FAILURES_TOTAL][0] + WINDOW_S - now
        return 0.0

    def record_failure(self, address: str) -> None:
        """Counts a wrong token for an address."""
        self._failures.append((self._clock(), address))

    def log_in(self, response: Response, *, secure: bool) -> None:
        """Sets the login cookie in a response. `secure`: the browser uses HTTPS."""
        login = self._signer.login(seconds=LOGIN_LIFETIME_S)
        response.set_cookie(COOKIE, login, max_age=LOGIN_LIFETIME_S, httponly=True, samesite="strict", secure=secure)

    def log_out(self, login: str, response: Response) -> None:
        """Ends a login before it expires, including all copies of its cookie."""
        now = int(self._clock())
        self._ended = {ended: until for ended, until in self._ended.items() if until > now}
        self._ended[login] = self._signer.login_expiry(login) or now
        response.delete_cookie(COOKIE, httponly=True, samesite="strict")


def logged_in(request: HTTPConnection) -> bool:
    """Whether a request comes from a browser that is logged in to the dashboard of this app."""
    logins: Logins | None = getattr(request.app.state, "logins", None)
    return logins is not None and logins.login_of(request) is not None


def build_logins(settings: Settings) -> Logins | None:
    """The logins for these settings; None without an API_TOKEN, or if it is too short."""
    try:
        return Logins(settings)
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
