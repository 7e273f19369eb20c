"""Signs session tokens, links to the content of one attachment, and logins of browsers.

Their keys are derived from the API_TOKEN: nothing is stored, and a new API_TOKEN invalidates all of them. What is ended
before it expires is in the catalogue, by the id that each of them has.
"""

from __future__ import annotations

import hashlib
import hmac
import importlib
import re
import secrets
import time
from collections.abc import Callable
from typing import Any, NamedTuple

from pydantic import SecretStr

from pipeline.config.settings import MIN_API_TOKEN_LENGTH
from pipeline.errors import SettingsError
from pipeline.security.callers import Caller

AUDIENCE = "esteira"
ALGORITHM = "HS256"
DAY_S = 24 * 3600
MAX_TOKEN_DAYS = 3650
MAX_LINK_S = 7 * DAY_S
DEFAULT_LINK_S = 3600
LOGIN_LIFETIME_S = 12 * 3600
MAX_SIGNED = 8192  # characters of a token that is read; longer ones are none of ours
LEGACY = "legacy-"  # begins the id of a session token that an older version made, which has none
_LOGIN = re.compile(r"([0-9]{1,15})\.([0-9a-f]{32})\.([0-9a-f]{0,12})\.([0-9a-f]{64})", re.ASCII)
_SESSION_TOKEN_ID = re.compile(r"(legacy-)?[0-9a-f]{16}", re.ASCII)
_ID = re.compile(r"[0-9a-z-]{1,64}", re.ASCII)


class SessionToken(NamedTuple):
    """The claims of a session token: its id, the session that it opens, and its expiry in Unix seconds.

    `gateway` is None for the sessions with this name of all gateways. A token of an older version names no gateway:
    `is_legacy`.
    """

    id: str
    session: str
    gateway: str | None
    expires: int
    is_legacy: bool = False


class Login(NamedTuple):
    """A login of a browser: its id, when it began in Unix ms, and the id of the user's token; "" for the API_TOKEN."""

    id: str
    began_at: int
    token_id: str


class TokenSigner:
    """Makes and checks tokens, links and logins. `clock` returns Unix seconds."""

    def __init__(self, api_token: SecretStr | None, *, clock: Callable[[], float] = time.time) -> None:
        """
        Raises:
            SettingsError: API_TOKEN is not set or too short.
        """
        secret = api_token.get_secret_value() if api_token else ""
        if len(secret) < MIN_API_TOKEN_LENGTH:
            raise SettingsError(
                f"API_TOKEN: session tokens and links need a token of at least {MIN_API_TOKEN_LENGTH} characters, "
                "for example from `openssl rand -hex 32`"
            )
        self._token_key = _derived(secret, "session tokens")
        self._link_key = _derived(secret, "content links")
        self._login_key = _derived(secret, "dashboard logins")
        self._clock = clock

    def session_token(self, session: str, *, gateway: str | None, days: float) -> str:
        """Makes a token that reads one session of a gateway for a number of days.

        With None as the gateway it reads the sessions with this name of all gateways.
        """
        expires = int(self._clock() + days * DAY_S)
        named = {"session": session, "gateway": gateway}
        claims = {**named, "jti": secrets.token_hex(8), "aud": AUDIENCE, "exp": expires}
        return str(_jwt().encode(claims, self._token_key, algorithm=ALGORITHM))

    def read(self, token: str) -> SessionToken | None:
        """The claims of a session token; None if it is invalid or has expired."""
        if len(token) > MAX_SIGNED or token.count(".") != 2 or not token.isascii():
            return None
        jwt = _jwt()
        try:
            claims = jwt.decode(
                token,
                self._token_key,
                algorithms=[ALGORITHM],
                audience=AUDIENCE,
                options={"require": ["session", "aud", "exp"], "verify_exp": False, "verify_jti": False},
            )
        except jwt.InvalidTokenError:
            return None
        return self._session_token(claims, token)

    def _session_token(self, claims: dict[str, Any], token: str) -> SessionToken | None:
        session, expires, gateway = claims["session"], claims["exp"], claims.get("gateway")
        token_id = claims.get("jti", LEGACY + hashlib.sha256(token.encode()).hexdigest()[:16])
        named = isinstance(session, str) and session and isinstance(gateway, str | None)
        if not (named and isinstance(token_id, str) and is_session_token_id(token_id)):
            return None
        if not (isinstance(expires, int) and self._clock() < expires):
            return None
        return SessionToken(token_id, session, gateway, expires, "gateway" not in claims)

    def link(self, media_id: str, *, seconds: int, caller: Caller | None = None) -> tuple[str, int]:
        """Makes a signed path of an attachment's content; returns it with its expiry in Unix seconds.

        A link that a `caller` makes carries the id of its token, and expires with it.
        """
        expires, token_id = int(self._clock()) + seconds, ""
        if caller is not None:
            expires, token_id = min(expires, caller.expires or expires), caller.token_id or ""
        by = f"&by={token_id}" if token_id else ""
        signature = self._signature(media_id, expires, token_id)
        return f"/media/{media_id}/content?expires={expires}{by}&signature={signature}", expires

    def is_valid_link(self, media_id: str, expires: str, signature: str, *, by: str = "") -> bool:
        """Whether the parameters of a link are valid for this attachment now. `by`: the token that made it."""
        if not (expires.isascii() and expires.isdecimal() and len(expires) <= 12) or (by and not _ID.fullmatch(by)):
            return False
        expected = self._signature(media_id, int(expires), by)
        valid = hmac.compare_digest(signature.encode("utf-8", "surrogateescape"), expected.encode())
        return valid and self._clock() < int(expires)

    def login(self, token_id: str = "") -> str:
        """Makes the cookie value of a new login: when it began, its id, the id of the user's token, the signature."""
        content = f"{int(self._clock() * 1000)}.{secrets.token_hex(16)}.{token_id}"
        return f"{content}.{self._login_signature(content)}"

    def read_login(self, login: str) -> Login | None:
        """The parts of a login; None if it is not genuine."""
        match = _LOGIN.fullmatch(login)
        if match is None or not hmac.compare_digest(match[4], self._login_signature(login.rpartition(".")[0])):
            return None
        return Login(match[2], int(match[1]), match[3])

    def _login_signature(self, content: str) -> str:
        return hmac.new(self._login_key, content.encode(), hashlib.sha256).hexdigest()

    def _signature(self, media_id: str, expires: int, token_id: str) -> str:
        # Links of a token are signed over three lines, those without one over two, as in older versions.
        content = "\n".join(filter(None, (media_id, str(expires), token_id)))
        return hmac.new(self._link_key, content.encode(), hashlib.sha256).hexdigest()


def is_session_token_id(text: str) -> bool:
    """Whether the text has the form of the id of a session token."""
    return _SESSION_TOKEN_ID.fullmatch(text) is not None


def _jwt() -> Any:
    # Imported only when a token is made or read: the import loads all of X.509 and takes 20 ms.
    return importlib.import_module("jwt")


def _derived(secret: str, label: str) -> bytes:
    return hmac.new(secret.encode(), f"esteira {label} v1".encode(), hashlib.sha256).digest()
