"""The tokens of users: `est_<id>_<secret>`. The catalogue stores the id and a hash of the secret.

The secret is 256 random bits, which no one can guess, however fast the hash is. A slow hash protects secrets that
people choose; here it would only cost every request time. So it is SHA-256.
"""

from __future__ import annotations

import hashlib
import hmac
import re
import secrets
from typing import NamedTuple

PREFIX = "est_"
_TOKEN = re.compile(r"est_([0-9a-f]{12})_([A-Za-z0-9_-]{43})", re.ASCII)
_ID = re.compile(r"[0-9a-f]{12}", re.ASCII)
_USER_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._@-]{0,63}", re.ASCII)


class NewToken(NamedTuple):
    """A new token: its id, its text, which is shown once, and the hash to store."""

    id: str
    text: str
    secret_hash: str


class PresentedToken(NamedTuple):
    """A token that was sent: its id and the hash of its secret."""

    id: str
    secret_hash: str

    def matches(self, secret_hash: str) -> bool:
        """Whether its secret has this hash, compared in constant time."""
        return hmac.compare_digest(self.secret_hash, secret_hash)


def new_token() -> NewToken:
    """Makes a token from the random source of the system."""
    token_id, secret = secrets.token_hex(6), secrets.token_urlsafe(32)
    return NewToken(token_id, f"{PREFIX}{token_id}_{secret}", _hash(secret))


def read_token(text: str) -> PresentedToken | None:
    """The parts of a text that has the form of a user's token; None if it has not."""
    match = _TOKEN.fullmatch(text)
    return PresentedToken(match[1], _hash(match[2])) if match else None


def is_token_id(text: str) -> bool:
    """Whether the text has the form of the id of a user's token. Ids of session tokens have another."""
    return _ID.fullmatch(text) is not None


def is_user_name(text: str) -> bool:
    """Whether a user may have this name: 1 to 64 letters, digits and `._@-`."""
    return _USER_NAME.fullmatch(text) is not None


def _hash(secret: str) -> str:
    return hashlib.sha256(secret.encode()).hexdigest()
