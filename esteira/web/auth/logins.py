"""Who is logged in with a browser: a signed cookie, given for the API_TOKEN; nothing is kept but what was logged out.

The cookie opens the dashboard and lets `/docs` be read. No call of the API takes it: whatever changes something needs a
token in a header, which no page of a stranger can send.
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
LOGIN_LIFETIME_S = 12 * 3600
WINDOW_S = 60.0
MAX_FAILURES_PER_ADDRESS = 5  # wrong tokens within the window, from one address …
MAX_FAILURES_TOTAL = 30  # … and from all of them, for an attacker may have many


class Logins:
    """The logins of this process. Another API_TOKEN ends all of them, for their key is derived from it."""

    def __init__(self, settings: Settings, *, clock: Callable[[], float] = time.time) -> None:
        """`clock` gives Unix seconds.

        Raises:
            SettingsError: API_TOKEN is not set, or can be guessed.
        """
        self._token = settings.api_token.get_secret_value() if settings.api_token else ""
        self._signer = TokenSigner(settings.api_token, clock=clock)
        self._clock = clock
        self._ended: dict[str, int] = {}
        self._wrong: deque[tuple[float, str]] = deque()

    def login_of(self, request: HTTPConnection) -> str | None:
        """The login that a request or a WebSocket shows; None if it shows none that holds."""
        login = request.cookies.get(COOKIE)
        return login if login and self.is_valid(login) else None

    def is_valid(self, login: str) -> bool:
        """Whether a login is genuine, has not expired and was not logged out."""
        return login not in self._ended and self._signer.login_expiry(login) is not None

    def is_api_token(self, given: str) -> bool:
        """Whether this is the API_TOKEN; takes as long for a token that is nearly right as for any other."""
        return constant_time_equal(given, self._token)

    def lockout_s(self, address: str) -> float:
        """For how many seconds an address may not try again; 0 if it may now."""
        now = self._clock()
        while self._wrong and now - self._wrong[0][0] >= WINDOW_S:
            self._wrong.popleft()
        own = [at for at, who in self._wrong if who == address]
        if len(own) >= MAX_FAILURES_PER_ADDRESS:
            return own[-MAX_FAILURES_PER_ADDRESS] + WINDOW_S - now
        return self._wrong[-MAX_FAILURES_TOTAL][0] + WINDOW_S - now if len(self._wrong) >= MAX_FAILURES_TOTAL else 0.0

    def record_failure(self, address: str) -> None:
        """Counts a wrong token against an address."""
        self._wrong.append((self._clock(), address))

    def log_in(self, answer: Response, *, secure: bool) -> None:
        """Gives the browser that gets this answer a login; `secure` if it came over HTTPS."""
        login = self._signer.login(seconds=LOGIN_LIFETIME_S)
        answer.set_cookie(COOKIE, login, max_age=LOGIN_LIFETIME_S, httponly=True, samesite="strict", secure=secure)

    def log_out(self, login: str, answer: Response) -> None:
        """Ends a login before its time, whoever may have a copy of it."""
        now = int(self._clock())
        self._ended = {ended: until for ended, until in self._ended.items() if until > now}
        self._ended[login] = self._signer.login_expiry(login) or now
        answer.delete_cookie(COOKIE, httponly=True, samesite="strict")


def logged_in(request: HTTPConnection) -> bool:
    """Whether a request comes from a browser that is logged in to the dashboard of this app."""
    logins: Logins | None = getattr(request.app.state, "logins", None)
    return logins is not None and logins.login_of(request) is not None


def build_logins(settings: Settings) -> Logins | None:
    """The logins that these settings allow; None without an API_TOKEN that is long enough."""
    try:
        return Logins(settings)
    except SettingsError:
        return None


def login_path(target: str) -> str:
    """The path of the login page that redirects to `target` after the login."""
    return "/login" if target == "/" else f"/login?next={quote(target, safe='/')}"


def is_same_origin(request: HTTPConnection) -> bool:
    """Whether a request comes from a page of this host, or from no page of a browser at all.

    A browser says which page sends; of a WebSocket and of a form it does so always.
    """
    origin = request.headers.get("origin")
    if origin is None:
        return request.headers.get("sec-fetch-site", "none") in {"none", "same-origin"}
    _, found, host = origin.partition("://")
    return bool(found) and host == request.headers.get("host", "")


def is_https(request: HTTPConnection) -> bool:
    """Whether the browser speaks HTTPS, to us or to the proxy in front of us."""
    return "https" in {request.url.scheme, request.headers.get("x-forwarded-proto", "").split(",")[0].strip()}
