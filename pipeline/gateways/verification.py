"""Authenticates requests to the hooks. Comparisons take the same time for any wrong value."""

from __future__ import annotations

import hashlib
import hmac
import re
from collections.abc import Callable
from typing import Literal

from pydantic import SecretStr

from pipeline.errors import Code, PermanentError
from pipeline.gateways.intake import HookRequest

_SCHEME = "sha256="
_HEX_DIGEST = {"sha256": re.compile(r"[0-9a-f]{64}"), "sha512": re.compile(r"[0-9a-f]{128}")}

BodyCheck = Callable[[bytes], None]  # raises UnauthorizedError if the signature in the head is not that of the body


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


def hmac_check(signature: str, *, key: str, digest: Literal["sha256", "sha512"]) -> BodyCheck:
    """The check of a body against the lower-case hex of an HMAC over it.

    Raises:
        UnauthorizedError: the signature is missing or malformed: no body can fit it.
    """
    if not _HEX_DIGEST[digest].fullmatch(signature):
        raise UnauthorizedError("the signature is missing or wrong")
    return lambda body: check_hmac(body, signature, key=key, digest=digest)


def hub_signature_check(request: HookRequest, *, key: str) -> BodyCheck:
    """The check of a body against `X-Hub-Signature-256`: `sha256=` and the hex of an HMAC-SHA256 over the raw body.

    Raises:
        UnauthorizedError: the signature is missing or malformed.
    """
    signature = request.header("x-hub-signature-256")
    digest = signature.removeprefix(_SCHEME) if signature.startswith(_SCHEME) else ""
    return hmac_check(digest, key=key, digest="sha256")


def bearer_token(authorization: str) -> str:
    """The token of an Authorization header; empty if it holds no Bearer token."""
    scheme, _, token = authorization.partition(" ")
    return token.strip() if scheme.lower() == "bearer" else ""
