"""The settings of outgoing webhooks: endpoints, signing secrets, retries."""

from __future__ import annotations

import binascii
import json
import re
from fnmatch import fnmatchcase
from typing import Annotated, Any

from pydantic import BeforeValidator, ConfigDict, Field, SecretStr, ValidationError, field_validator, model_validator
from pydantic_settings import NoDecode

from pipeline.config.gateways import GatewaySettings
from pipeline.config.parsers import SecretParts
from pipeline.config.types import as_list
from pipeline.models import Model

EVENT_TYPES = ("media.done", "media.rejected", "media.failed", "media.expired")
DEFAULT_ENDPOINT = "default"  # the name of the endpoint of WEBHOOK_URL
MIN_KEY_BYTES = 16
NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,63}")
TOO_SHORT = "is too short: use whsec_ and at least 24 random bytes in base64"
NOT_BASE64 = "is not base64: use whsec_ and at least 24 random bytes in base64"
# Seconds before the second and further attempts: the schedule of the Standard Webhooks specification.
RETRY_S = (5.0, 300.0, 1800.0, 7200.0, 18_000.0, 36_000.0, 50_400.0, 72_000.0, 86_400.0)
Wait = Annotated[float, Field(gt=0, le=30 * 86_400, allow_inf_nan=False)]
Waits = Annotated[tuple[Wait, ...], Field(min_length=1, max_length=50)]


def _signing_secrets(value: str) -> list[str]:
    return [text for secret in as_list(value) for text in (secret, secret.removeprefix("whsec_"))]


def _endpoint_secrets(value: str) -> list[str]:
    secrets = [value]
    for endpoint in _endpoints(SecretStr(value)):
        secrets.append(endpoint.url.get_secret_value())
        secrets += _signing_secrets(",".join(secret.get_secret_value() for secret in endpoint.secrets))
    return secrets


class EndpointSettings(Model):
    """One endpoint. `secrets` has the newest first. Empty `types` or `sessions` mean all.

    `sessions` are names, or patterns with the wildcards of a shell: `*`, `?`, `[…]`.
    """

    name: str
    url: SecretStr
    secrets: tuple[SecretStr, ...]
    types: frozenset[str] = frozenset()
    sessions: tuple[str, ...] = ()

    def matches(self, *, type_: str, session: str) -> bool:
        """Whether the endpoint receives events of this type and session."""
        if self.types and type_ not in self.types:
            return False
        return not self.sessions or any(_fits(session, pattern) for pattern in self.sessions)


class WebhookSettings(GatewaySettings):
    """The settings of outgoing webhooks, named like their environment variables in lower case."""

    webhook_url: SecretStr | None = None
    webhook_secret: Annotated[SecretStr | None, SecretParts(_signing_secrets)] = None
    webhook_endpoints: Annotated[SecretStr | None, SecretParts(_endpoint_secrets)] = None
    webhook_timeout_s: Annotated[float, Field(gt=0, le=300, allow_inf_nan=False)] = 10
    webhook_concurrency: Annotated[int, Field(ge=1, le=100)] = 4
    webhook_retry_s: Annotated[Waits, NoDecode, BeforeValidator(as_list)] = RETRY_S
    webhook_keep_days: Annotated[float, Field(gt=0, le=36_500, allow_inf_nan=False)] = 7

    @field_validator("webhook_secret")
    @classmethod
    def _webhook_secret(cls, value: SecretStr | None) -> SecretStr | None:
        if value:
            for secret in as_list(value.get_secret_value()) or [""]:
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
            raise ValueError("WEBHOOK_SECRET: is missing: events to WEBHOOK_URL are signed with it")
        names = [endpoint.name for endpoint in self.endpoints]
        if self.webhook_url and names.count(DEFAULT_ENDPOINT) > 1:
            raise ValueError(
                f"WEBHOOK_ENDPOINTS: {DEFAULT_ENDPOINT!r} is the name of WEBHOOK_URL's endpoint: use another name"
            )
        return self

    @property
    def endpoints(self) -> tuple[EndpointSettings, ...]:
        """All endpoints: first that of WEBHOOK_URL, if it is set."""
        further = _endpoints(self.webhook_endpoints)
        if not (self.webhook_url and self.webhook_secret):
            return further
        secrets = tuple(map(SecretStr, as_list(self.webhook_secret.get_secret_value())))
        return EndpointSettings(name=DEFAULT_ENDPOINT, url=self.webhook_url, secrets=secrets), *further


def signing_key(secret: str) -> bytes:
    """The key of a secret in base64, with or without `whsec_` and padding.

    Raises:
        ValueError: it is not base64, or too short. The message does not repeat it.
    """
    text = secret.removeprefix("whsec_").rstrip("=")
    if len(secret) < MIN_KEY_BYTES:
        raise ValueError(TOO_SHORT)
    try:
        key = binascii.a2b_base64(text + "=" * (-len(text) % 4), strict_mode=True)
    except (binascii.Error, ValueError):
        raise ValueError(NOT_BASE64) from None
    if not text:
        raise ValueError(NOT_BASE64)
    if len(key) < MIN_KEY_BYTES:
        raise ValueError(TOO_SHORT)
    return key


def _fits(session: str, pattern: str) -> bool:
    return session == pattern or fnmatchcase(session, pattern)


class _EndpointJson(Model):
    """An endpoint in WEBHOOK_ENDPOINTS."""

    model_config = ConfigDict(extra="forbid")

    name: str
    url: Annotated[str, Field(min_length=1)]
    secret: str | Annotated[list[str], Field(min_length=1, max_length=10)]
    types: list[str] = Field(default_factory=list)
    sessions: list[str] = Field(default_factory=list)


def _endpoints(value: SecretStr | None) -> tuple[EndpointSettings, ...]:
    """Parses WEBHOOK_ENDPOINTS. Raises ValueError with the endpoint's name and the reason."""
    if value is None:
        return ()
    try:
        items = json.loads(value.get_secret_value())
    except ValueError:
        items = None
    if not isinstance(items, list):
        raise ValueError('must be a JSON list: [{"name": "crm", "url": "https://…", "secret": "whsec_…"}]')  # noqa: TRY004
    endpoints = tuple(_endpoint(number, item) for number, item in enumerate(items, 1))
    names = [endpoint.name for endpoint in endpoints]
    for name in names:
        if names.count(name) > 1:
            raise ValueError(f"{name!r} is used twice: each endpoint needs its own name")
    return endpoints


def _endpoint(number: int, item: Any) -> EndpointSettings:
    name = item.get("name") if isinstance(item, dict) else None
    if not (isinstance(name, str) and NAME.fullmatch(name)):
        raise ValueError(f"endpoint {number} needs a name of at most 64 letters, digits, dots, - and _")
    try:
        written = _EndpointJson.model_validate(item)
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
        raise ValueError(f"{name}: unknown event {unknown[0]!r}; the events are {', '.join(EVENT_TYPES)}")
    if not all(written.sessions):
        raise ValueError(f"{name}: sessions: a pattern is empty; use * for all sessions")
    return EndpointSettings(
        name=name,
        url=SecretStr(written.url),
        secrets=tuple(map(SecretStr, secrets)),
        types=frozenset(written.types),
        sessions=tuple(written.sessions),
    )
