"""Authenticates requests to the hooks. Comparisons take the same time for any wrong value."""

from __future__ import annotations

import hashlib
import hmac
from typing import Literal

from pydantic import SecretStr

from pipeline.errors import Code, PermanentError
from pipeline.gateways.intake import HookRequest

_SCHEME = "sha256="


class UnauthorizedError(PermanentError):
    """Raised when a request carries no secret, or a wrong one."""

    def __init__(self, message: str) -> None:
        super().__init__(Code.UNAUTHORIZED, message)


class NoSecretError(UnauthorizedError):
    """Raised when a hook has no secret yet and therefore refuses every request; `setting` is the missing setting."""

    def __init__(self, setting: str) -> None:
        super().__init__("this hook is closed: its secret is not set on the server")
        self.setting = setting


def required_secret(secret: SecretStr | None, setting: str) -> str:
    """The secret's value.

    Raises:
        NoSecretError: it is not set, or empty: a request without a secret would equal an empty one.
    """
    if not secret:
        raise NoSecretError(setting)
    return secret.get_secret_value()


def constant_time_equal(value: str, expected: str) -> bool:
    """Whether two texts are equal, compared in a time that does not depend on where they differ."""
    # compare_digest accepts only ASCII text, but any bytes.
    return hmac.compare_digest(*(text.encode("utf-8", "surrogateescape") for text in (value, expected)))


def check_hmac(body: bytes, signature: str, *, key: str, digest: Literal["sha256", "sha512"]) -> None:
    """Checks the lower-case hex of an HMAC over the raw body.

    Raises:
        UnauthorizedError: it is missing or wrong.
    """
    if not constant_time_equal(signature, hmac.new(key.encode(), body, getattr(hashlib, digest)).hexdigest()):
        raise UnauthorizedError("the signature is missing or wrong")


def check_hub_signature(request: HookRequest, *, key: str) -> None:
    """Checks `X-Hub-Signature-256`: `sha256=` and the hex of an HMAC-SHA256 over the raw body.

    Raises:
        UnauthorizedError: it is missing or wrong.
    """
    signature = request.header("x-hub-signature-256")
    check_hmac(
        request.body, signature.removeprefix(_SCHEME) if signature.startswith(_SCHEME) else "", key=key, digest="sha256"
    )


def bearer_token(authorization: str) -> str:
    """The token of an Authorization header; empty if it holds no Bearer token."""
    scheme, _, token = authorization.partition(" ")
    return token.strip() if scheme.lower() == "bearer" else ""
