"""The settings of webhooks out: where events go, how they are signed, how long a receiver is tried."""

from __future__ import annotations

import binascii
import json
import re
from fnmatch import fnmatchcase
from typing import Annotated, Any

from pydantic import BeforeValidator, ConfigDict, Field, SecretStr, ValidationError, field_validator, model_validator
from pydantic_settings import NoDecode

from pipeline.config.gateways import GatewaySettings
from pipeline.models import Model

EVENT_TYPES = ("media.done", "media.rejected", "media.failed", "media.expired")
DEFAULT_ENDPOINT = "default"  # the name of the endpoint at WEBHOOK_URL
SHORTEST_KEY = 16  # bytes
NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,63}")
SHORT = "is too short: use whsec_ and at least 24 random bytes in base64"
NO_BASE64 = "is not base64: use whsec_ and at least 24 random bytes in base64"
# After the first attempt, which is made at once: the schedule that the Standard Webhooks specification suggests.
RETRY_S = (5.0, 300.0, 1800.0, 7200.0, 18_000.0, 36_000.0, 50_400.0, 72_000.0, 86_400.0)
Wait = Annotated[float, Field(gt=0, le=30 * 86_400, allow_inf_nan=False)]
Waits = Annotated[tuple[Wait, ...], Field(min_length=1, max_length=50)]


def _listed(value: Any) -> Any:
    return [part.strip() for part in value.split(",") if part.strip()] if isinstance(value, str) else value


class EndpointSettings(Model):
    """One receiver. `secrets` are the newest first; no `types` are all of them, no `sessions` are all, too.

    A session's pattern is its name, or has the wildcards of a shell: `*`, `?`, `[…]`.
    """

    name: str
    url: SecretStr
    secrets: tuple[SecretStr, ...]
    types: frozenset[str] = frozenset()
    sessions: tuple[str, ...] = ()

    def matches(self, *, type_: str, session: str) -> bool:
        """Whether events of this type and session go there."""
        if self.types and type_ not in self.types:
            return False
        return not self.sessions or any(_fits(session, pattern) for pattern in self.sessions)


class WebhookSettings(GatewaySettings):
    """Every setting of webhooks out, named as its environment variable in lower case."""

    webhook_url: SecretStr | None = None
    webhook_secret: SecretStr | None = None
    webhook_endpoints: SecretStr | None = None
    webhook_timeout_s: Annotated[float, Field(gt=0, le=300, allow_inf_nan=False)] = 10
    webhook_concurrency: Annotated[int, Field(ge=1, le=100)] = 4
    webhook_retry_s: Annotated[Waits, NoDecode, BeforeValidator(_listed)] = RETRY_S
    webhook_keep_days: Annotated[float, Field(gt=0, le=36_500, allow_inf_nan=False)] = 7

    @field_validator("webhook_secret")
    @classmethod
    def _webhook_secret(cls, value: SecretStr | None) -> SecretStr | None:
        if value:
            for secret in _listed(value.get_secret_value()) or [""]:
                signing_key(secret)
        return value

    @field_validator("webhook_endpoints")
    @classmethod
    def _webhook_endpoints(cls, value: SecretStr | None) -> SecretStr | None:
        _endpoints(value)
        return value

    @model_validator(mode="after")
    def _webhooks_fit_together(self) -> WebhookSettings:
        if self.webhook_url and not self.webhook_secret:
            raise ValueError("WEBHOOK_SECRET: is missing: WEBHOOK_URL needs it to sign what it sends")
        names = [endpoint.name for endpoint in self.endpoints]
        if self.webhook_url and names.count(DEFAULT_ENDPOINT) > 1:
            raise ValueError(f"WEBHOOK_ENDPOINTS: {DEFAULT_ENDPOINT!r} is the one at WEBHOOK_URL: name it otherwise")
        return self

    @property
    def endpoints(self) -> tuple[EndpointSettings, ...]:
        """All receivers: first the one at WEBHOOK_URL, if there is one."""
        further = _endpoints(self.webhook_endpoints)
        if not (self.webhook_url and self.webhook_secret):
            return further
        secrets = tuple(map(SecretStr, _listed(self.webhook_secret.get_secret_value())))
        return EndpointSettings(name=DEFAULT_ENDPOINT, url=self.webhook_url, secrets=secrets), *further

    @property
    def webhook_secrets(self) -> list[str]:
        """Every URL and every secret of an endpoint, with its prefix and without."""
        found = []
        for endpoint in self.endpoints:
            found.append(endpoint.url.get_secret_value())
            for secret in (one.get_secret_value() for one in endpoint.secrets):
                found += [secret, secret.removeprefix("whsec_")]
        return found


def signing_key(secret: str) -> bytes:
    """The bytes that a secret stands for, with `whsec_` or without, padded or not.

    Raises:
        ValueError: it is no base64, or too short. Its value is not repeated.
    """
    text = secret.removeprefix("whsec_").rstrip("=")
    if len(secret) < SHORTEST_KEY:
        raise ValueError(SHORT)
    try:
        key = binascii.a2b_base64(text + "=" * (-len(text) % 4), strict_mode=True)
    except (binascii.Error, ValueError):
        raise ValueError(NO_BASE64) from None
    if not text:
        raise ValueError(NO_BASE64)
    if len(key) < SHORTEST_KEY:
        raise ValueError(SHORT)
    return key


def _fits(session: str, pattern: str) -> bool:
    return session == pattern or fnmatchcase(session, pattern)


class _Written(Model):
    """An endpoint as WEBHOOK_ENDPOINTS holds it."""

    model_config = ConfigDict(extra="forbid")

    name: str
    url: Annotated[str, Field(min_length=1)]
    secret: str | Annotated[list[str], Field(min_length=1, max_length=10)]
    types: list[str] = Field(default_factory=list)
    sessions: list[str] = Field(default_factory=list)


def _endpoints(value: SecretStr | None) -> tuple[EndpointSettings, ...]:
    """Raises ValueError, naming the endpoint and what is wrong with it."""
    if value is None:
        return ()
    try:
        given = json.loads(value.get_secret_value())
    except ValueError:
        given = None
    if not isinstance(given, list):
        raise ValueError('must be a JSON list: [{"name": "crm", "url": "https://…", "secret": "whsec_…"}]')  # noqa: TRY004
    found = tuple(_endpoint(number, one) for number, one in enumerate(given, 1))
    names = [endpoint.name for endpoint in found]
    for name in names:
        if names.count(name) > 1:
            raise ValueError(f"{name!r} is there twice: give each endpoint a name of its own")
    return found


def _endpoint(number: int, given: Any) -> EndpointSettings:
    name = given.get("name") if isinstance(given, dict) else None
    if not (isinstance(name, str) and NAME.fullmatch(name)):
        raise ValueError(f"endpoint {number} needs a name of letters, digits, dots, - and _, at most 64")
    try:
        written = _Written.model_validate(given)
    except ValidationError as error:
        first = error.errors(include_input=False, include_url=False)[0]
        raise ValueError(f"{name}: {'.'.join(map(str, first['loc'][:1]))}: {first['msg']}") from None
    secrets = [written.secret] if isinstance(written.secret, str) else written.secret
    try:
        for secret in secrets:
            signing_key(secret)
    except ValueError as error:
        raise ValueError(f"{name}: a secret {error}") from None
    if unknown := sorted(set(written.types) - set(EVENT_TYPES)):
        raise ValueError(f"{name}: there is no event {unknown[0]!r}; there are {', '.join(EVENT_TYPES)}")
    if not all(written.sessions):
        raise ValueError(f"{name}: sessions: a pattern is empty; use * for all")
    return EndpointSettings(
        name=name,
        url=SecretStr(written.url),
        secrets=tuple(map(SecretStr, secrets)),
        types=frozenset(written.types),
        sessions=tuple(written.sessions),
    )
