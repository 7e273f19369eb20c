"""Authenticates requests to the hooks. Comparisons take the same time for any wrong value.

The errors tell apart what a person has to correct: the sender sends no secret, it sends a wrong one, or none is set
here. They name headers and settings, and never repeat a secret.
"""

from __future__ import annotations

import hashlib
import hmac
import re
from collections.abc import Callable, Iterable, Mapping
from typing import Literal, NamedTuple

from pydantic import SecretStr

from pipeline.errors import Code, PermanentError
from pipeline.gateways.intake import HookRequest

WEBHOOK_SECRET_HEADER = "X-Webhook-Secret"  # noqa: S105  the name of a header
BEARER = "Authorization: Bearer"
URL_PART = "the last part of the URL"

_HEX_DIGEST = {"sha256": re.compile(r"[0-9a-f]{64}"), "sha512": re.compile(r"[0-9a-f]{128}")}

BodyCheck = Callable[[bytes], None]  # raises UnauthorizedError if the signature in the head is not that of the body
Reason = Literal["missing", "wrong", "not_set"]


class UnauthorizedError(PermanentError):
    """Raised when a request is not authenticated.

    `reason` is "missing" if it carries no secret, "wrong" if its secret does not fit, "not_set" if none is set here.
    """

    def __init__(self, message: str, *, reason: Reason = "wrong") -> None:
        super().__init__(Code.UNAUTHORIZED, message)
        self.reason = reason


class NoSecretError(UnauthorizedError):
    """Raised when a hook has no secret yet and therefore refuses every request; `setting` is the missing setting."""

    def __init__(self, setting: str) -> None:
        super().__init__(f"{setting} is not set on this server: set it, and restart the server", reason="not_set")
        self.setting = setting


class MissingSecretError(UnauthorizedError):
    """Raised when a request carries no secret. `expected` describes it, `places` are where it may be sent."""

    def __init__(self, expected: str, places: Iterable[str]) -> None:
        super().__init__(f"no secret was sent: send {expected} as {', or as '.join(places)}", reason="missing")


class WrongSecretError(UnauthorizedError):
    """Raised when the secret that a request carries is wrong. `places` are where it was sent."""

    def __init__(self, expected: str, places: Iterable[str]) -> None:
        super().__init__(f"wrong secret: what was sent as {', and as '.join(places)} is not {expected}")


def required_secret(secret: SecretStr | None, setting: str) -> str:
    """The secret's value.

    Raises:
        NoSecretError: it is not set, or empty: a request without a secret would equal an empty one.
    """
    if not secret:
        raise NoSecretError(setting)
    return secret.get_secret_value()


def check_secret(sent: Mapping[str, str], secret: SecretStr | None, setting: str) -> None:
    """Compares a setting's secret with what a request carries. `sent` maps each place for it to what is there.

    Raises:
        NoSecretError, MissingSecretError, WrongSecretError: see there.
    """
    value = required_secret(secret, setting)
    given = {place: text for place, text in sent.items() if text}
    if not given:
        raise MissingSecretError(f"the {setting} of this server", sent)
    if not any(constant_time_equal(text, value) for text in given.values()):
        raise WrongSecretError(f"the {setting} of this server", given)


def constant_time_equal(value: str, expected: str) -> bool:
    """Whether two texts are equal, compared in a time that does not depend on where they differ."""
    # compare_digest accepts only ASCII text, but any bytes.
    return hmac.compare_digest(*(text.encode("utf-8", "surrogateescape") for text in (value, expected)))


class BodySignature(NamedTuple):
    """How a gateway signs a body: the header with the lower-case hex of an HMAC over it, and the setting with the key.

    `prefix` precedes the hex in the header.
    """

    header: str
    setting: str
    digest: Literal["sha256", "sha512"]
    prefix: str = ""

    def check(self, request: HookRequest, secret: SecretStr | None) -> BodyCheck:
        """The check of a body against the signature in a request's head.

        Raises:
            NoSecretError: the setting is not set.
            UnauthorizedError: the signature is missing, or malformed: no body can fit it.
        """
        key, sent = required_secret(secret, self.setting), request.header(self.header)
        if not sent:
            message = f"no signature was sent: sign the body with {self.setting}, and send {self.header}"
            raise UnauthorizedError(message, reason="missing")
        signature = sent.removeprefix(self.prefix)
        if not (sent.startswith(self.prefix) and _HEX_DIGEST[self.digest].fullmatch(signature)):
            form = f"{self.prefix}{'<hex>' if self.prefix else 'the lower-case hex'} of an HMAC-{self.digest.upper()}"
            raise UnauthorizedError(f"wrong signature: {self.header} is not {form}")
        return lambda body: self._check_body(body, signature, key)

    def _check_body(self, body: bytes, signature: str, key: str) -> None:
        if not has_hmac(body, signature, key=key, digest=self.digest):
            raise UnauthorizedError(
                f"wrong signature: {self.header} was not made of this body with the {self.setting} of this server; "
                "another key signed it, or the body was changed on its way"
            )


def hub_signature(setting: str) -> BodySignature:
    """`X-Hub-Signature-256`: `sha256=` and the hex of an HMAC-SHA256 over the raw body with this setting's key."""
    return BodySignature("X-Hub-Signature-256", setting, "sha256", prefix="sha256=")


def has_hmac(body: bytes, signature: str, *, key: str, digest: Literal["sha256", "sha512"]) -> bool:
    """Whether this is the lower-case hex of an HMAC over the raw body."""
    return constant_time_equal(signature, hmac.new(key.encode(), body, getattr(hashlib, digest)).hexdigest())


def bearer_token(authorization: str) -> str:
    """The token of an Authorization header; empty if it holds no Bearer token."""
    scheme, _, token = authorization.partition(" ")
    return token.strip() if scheme.lower() == "bearer" else ""
