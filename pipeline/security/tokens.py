"""Signs session tokens, links to the content of one attachment, and logins of browsers.

Their keys are derived from the API_TOKEN: nothing is stored, and a new API_TOKEN invalidates all of them.
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

from pipeline.errors import SettingsError

AUDIENCE = "esteira"
ALGORITHM = "HS256"
DAY_S = 24 * 3600
MAX_TOKEN_DAYS = 3650
MAX_LINK_S = 7 * DAY_S
# A holder of a signed token can try out API_TOKENs offline.
MIN_API_TOKEN_LENGTH = 16
_LOGIN = re.compile(r"([0-9]{1,12})\.([0-9a-f]{32})\.([0-9a-f]{64})", re.ASCII)


class SessionToken(NamedTuple):
    """The claims of a session token: the session that it gives access to, and its expiry in Unix seconds."""

    session: str
    expires: int


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

    def session_token(self, session: str, *, days: float) -> str:
        """Makes a token that gives access to one session for a number of days."""
        claims = {"session": session, "aud": AUDIENCE, "exp": int(self._clock() + days * DAY_S)}
        return str(_jwt().encode(claims, self._token_key, algorithm=ALGORITHM))

    def session_of(self, token: str) -> str | None:
        """The session that a token gives access to; None if the token is invalid or has expired."""
        claims = self.read(token)
        return claims.session if claims else None

    def read(self, token: str) -> SessionToken | None:
        """The claims of a session token; None if it is invalid or has expired."""
        jwt = _jwt()
        try:
            claims = jwt.decode(
                token,
                self._token_key,
                algorithms=[ALGORITHM],
                audience=AUDIENCE,
                options={"require": ["session", "aud", "exp"], "verify_exp": False},
            )
        except jwt.InvalidTokenError:
            return None
        session, expires = claims["session"], claims["exp"]
        valid = isinstance(session, str) and session and isinstance(expires, int) and self._clock() < expires
        return SessionToken(session, expires) if valid else None

    def link(self, media_id: str, *, seconds: int) -> tuple[str, int]:
        """Makes a signed path of an attachment's content; returns it with its expiry in Unix seconds."""
        expires = int(self._clock()) + seconds
        return f"/media/{media_id}/content?expires={expires}&signature={self._signature(media_id, expires)}", expires

    def is_valid_link(self, media_id: str, expires: str, signature: str) -> bool:
        """Whether the parameters of a link are valid for this attachment now."""
        if not (expires.isascii() and expires.isdecimal() and len(expires) <= 12):
            return False
        expected = self._signature(media_id, int(expires))
        valid = hmac.compare_digest(signature.encode("utf-8", "surrogateescape"), expected.encode())
        return valid and self._clock() < int(expires)

    def login(self, *, seconds: int) -> str:
        """Makes the cookie value of a new login: `expiry.id.signature`."""
        content = f"{int(self._clock()) + seconds}.{secrets.token_hex(16)}"
        return f"{content}.{self._login_signature(content)}"

    def login_expiry(self, login: str) -> int | None:
        """When a login expires, in Unix seconds; None if it is invalid or has expired."""
        match = _LOGIN.fullmatch(login)
        if match is None or not hmac.compare_digest(match[3], self._login_signature(f"{match[1]}.{match[2]}")):
            return None
        return int(match[1]) if self._clock() < int(match[1]) else None

    def _login_signature(self, content: str) -> str:
        return hmac.new(self._login_key, content.encode(), hashlib.sha256).hexdigest()

    def _signature(self, media_id: str, expires: int) -> str:
        return hmac.new(self._link_key, f"{media_id}\n{expires}".encode(), hashlib.sha256).hexdigest()


def _jwt() -> Any:
    # Imported only when a token is made or read: the import loads all of X.509 and takes 20 ms.
    return importlib.import_module("jwt")


def _derived(secret: str, label: str) -> bytes:
    return hmac.new(secret.encode(), f"esteira {label} v1".encode(), hashlib.sha256).digest()
