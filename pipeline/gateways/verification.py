"""Whether a request comes from who it says it does. Comparisons take the same time however much of a guess is right."""

from __future__ import annotations

import hashlib
import hmac

from pydantic import SecretStr

from pipeline.errors import Code, PermanentError


class UnauthorizedError(PermanentError):
    """Raised when a request shows no secret, or a wrong one."""

    def __init__(self, message: str) -> None:
        super().__init__(Code.UNAUTHORIZED, message)


class NoSecretError(UnauthorizedError):
    """Raised when a hook has no secret yet, so that nobody can be let in; `setting` is the one that is missing."""

    def __init__(self, setting: str) -> None:
        super().__init__("this hook is not open: its secret is not set on the server")
        self.setting = setting


def configured(secret: SecretStr | None, setting: str) -> str:
    """The secret's value.

    Raises:
        NoSecretError: it is not set, or empty: a request without a secret would be equal to that.
    """
    if not secret:
        raise NoSecretError(setting)
    return secret.get_secret_value()


def constant_time_equal(given: str, expected: str) -> bool:
    """Whether two texts are the same, in a time that tells nothing."""
    # Bytes, for compare_digest takes no text beyond ASCII.
    return hmac.compare_digest(*(text.encode("utf-8", "surrogateescape") for text in (given, expected)))


def check_hmac(body: bytes, given: str, *, key: str, digest: str) -> None:
    """Checks the lower-case hex of an HMAC over the raw body.

    Raises:
        UnauthorizedError: it is missing or wrong.
    """
    if not constant_time_equal(given, hmac.new(key.encode(), body, getattr(hashlib, digest)).hexdigest()):
        raise UnauthorizedError("the signature is missing or wrong")


def bearer_token(authorization: str) -> str:
    """The token of an Authorization header, empty if it carries none."""
    scheme, _, token = authorization.partition(" ")
    return token.strip() if scheme.lower() == "bearer" else ""
