"""Passes for who does not show the API_TOKEN: tokens for one session, signed links to one content, logins of browsers.

Their keys are derived from the API_TOKEN, so nothing has to be kept, and another API_TOKEN ends them all.
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
# Whoever has a pass can try API_TOKENs on it for as long as he likes.
MIN_API_TOKEN_LENGTH = 16
_LOGIN = re.compile(r"([0-9]{1,12})\.([0-9a-f]{32})\.([0-9a-f]{64})", re.ASCII)


class SessionToken(NamedTuple):
    """What a session's token says: whose events and media it shows, until when in Unix seconds."""

    session: str
    expires: int


class TokenSigner:
    """Makes and reads them. `clock` gives Unix seconds."""

    def __init__(self, api_token: SecretStr | None, *, clock: Callable[[], float] = time.time) -> None:
        """
        Raises:
            SettingsError: API_TOKEN is not set, or can be guessed.
        """
        secret = api_token.get_secret_value() if api_token else ""
        if len(secret) < MIN_API_TOKEN_LENGTH:
            raise SettingsError(
                f"API_TOKEN: session tokens and links need one of at least {MIN_API_TOKEN_LENGTH} characters, "
                "such as `openssl rand -hex 32` gives"
            )
        self._token_key = _derived(secret, "session tokens")
        self._link_key = _derived(secret, "content links")
        self._login_key = _derived(secret, "dashboard logins")
        self._clock = clock

    def session_token(self, session: str, *, days: float) -> str:
        """A token that shows this session and no other, for so many days."""
        claims = {"session": session, "aud": AUDIENCE, "exp": int(self._clock() + days * DAY_S)}
        return str(_jwt().encode(claims, self._token_key, algorithm=ALGORITHM))

    def session_of(self, token: str) -> str | None:
        """The session that a token shows; None if it is none of ours or has expired."""
        found = self.read(token)
        return found.session if found else None

    def read(self, token: str) -> SessionToken | None:
        """What a session's token says; None if it is none of ours or has expired."""
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
        """The path of a content with its signature, and when it expires in Unix seconds."""
        expires = int(self._clock()) + seconds
        return f"/media/{media_id}/content?expires={expires}&signature={self._signature(media_id, expires)}", expires

    def is_valid_link(self, media_id: str, expires: str, signature: str) -> bool:
        """Whether these two, as a link carries them, open this content now."""
        if not (expires.isascii() and expires.isdecimal() and len(expires) <= 12):
            return False
        expected = self._signature(media_id, int(expires))
        genuine = hmac.compare_digest(signature.encode("utf-8", "surrogateescape"), expected.encode())
        return genuine and self._clock() < int(expires)

    def login(self, *, seconds: int) -> str:
        """A new login of a browser that has shown the API_TOKEN: `expiry.id.signature`, fit for a cookie."""
        named = f"{int(self._clock()) + seconds}.{secrets.token_hex(16)}"
        return f"{named}.{self._login_signature(named)}"

    def login_expiry(self, login: str) -> int | None:
        """When a login expires, in Unix seconds; None if it is none of ours or has expired."""
        found = _LOGIN.fullmatch(login)
        if found is None or not hmac.compare_digest(found[3], self._login_signature(f"{found[1]}.{found[2]}")):
            return None
        return int(found[1]) if self._clock() < int(found[1]) else None

    def _login_signature(self, named: str) -> str:
        return hmac.new(self._login_key, named.encode(), hashlib.sha256).hexdigest()

    def _signature(self, media_id: str, expires: int) -> str:
        return hmac.new(self._link_key, f"{media_id}\n{expires}".encode(), hashlib.sha256).hexdigest()


def _jwt() -> Any:
    # Imported where a token is made or read: it brings all of X.509 along, 20 ms for every process that needs none.
    return importlib.import_module("jwt")


def _derived(secret: str, label: str) -> bytes:
    return hmac.new(secret.encode(), f"esteira {label} v1".encode(), hashlib.sha256).digest()
