"""The settings of the gateways: secrets of their hooks, addresses of their servers, limits."""

from __future__ import annotations

import base64
from typing import Annotated, Any, Literal

from pydantic import Field, SecretStr, field_validator, model_validator
from pydantic_settings import BaseSettings

from pipeline.config.parsers import SecretParts, is_header_value, is_login, is_web_url, secret_pairs

LOOPBACK_HOSTS = frozenset({"127.0.0.1", "::1", "localhost"})
KEYS_OF_SERVERS = {
    "wppconnect_token": "wppconnect_url",
    "wppconnect_tokens": "wppconnect_url",
    "evolution_api_key": "evolution_url",
    "waha_api_key": "waha_url",
    "gowa_auth": "gowa_url",
}


def _tokens(value: str) -> list[str]:
    return [value, *(secret_pairs(value) or {}).values()]


def _login_parts(value: str) -> list[str]:
    return [value, value.partition(":")[2], base64.b64encode(value.encode()).decode()]


def _are_header_values(pairs: SecretStr | None) -> bool:
    values = secret_pairs(pairs.get_secret_value()) if pairs else {}
    return values is not None and all(map(is_header_value, values.values()))


def _own_or_common(name: str, *, own: SecretStr | None, common: SecretStr | None) -> str | None:
    pairs = secret_pairs(own.get_secret_value()) if own else None
    if pairs and name in pairs:
        return pairs[name]
    return common.get_secret_value() if common else None


class GatewaySettings(BaseSettings):
    """The settings of the gateways, named like their environment variables in lower case."""

    wppconnect_secret: SecretStr | None = None
    wppconnect_url: str | None = None
    wppconnect_token: SecretStr | None = None
    wppconnect_tokens: Annotated[SecretStr | None, SecretParts(_tokens)] = None
    evolution_jwt_key: SecretStr | None = None
    evolution_secret: SecretStr | None = None
    evolution_url: str | None = None
    evolution_api_key: SecretStr | None = None
    waha_hmac_key: SecretStr | None = None
    waha_url: str | None = None
    waha_api_key: SecretStr | None = None
    waha_files_lifetime_s: Annotated[int, Field(ge=0, le=1_000_000_000)] = 180
    gowa_webhook_secret: SecretStr | None = None
    gowa_url: str | None = None
    gowa_auth: Annotated[SecretStr | None, SecretParts(_login_parts)] = None
    cloud_app_secret: SecretStr | None = None
    cloud_verify_token: SecretStr | None = None
    cloud_access_token: SecretStr | None = None
    cloud_access_tokens: Annotated[SecretStr | None, SecretParts(_tokens)] = None
    cloud_graph_url: str = "https://graph.facebook.com/v23.0"

    reupload: Literal["off", "gateway"] = "off"
    reupload_per_minute: Annotated[float, Field(gt=0, le=60_000, allow_inf_nan=False)] = 20  # for each gateway
    reupload_concurrency: Annotated[int, Field(ge=1, le=1000)] = 2  # of each process, at one server
    reupload_timeout_s: Annotated[float, Field(gt=0, le=3600, allow_inf_nan=False)] = 60  # until the answer begins

    default_session: Annotated[str | None, Field(max_length=512)] = None
    allow_unsigned_hooks: bool = False
    hook_rate_per_minute: Annotated[int, Field(ge=0, le=1_000_000_000)] = 6000
    hook_body_timeout_s: Annotated[float, Field(gt=0, le=3600)] = 10

    @field_validator("wppconnect_url", "evolution_url", "waha_url", "gowa_url", "cloud_graph_url")
    @classmethod
    def _web_url(cls, value: str | None) -> str | None:
        if value and not is_web_url(value):
            raise ValueError("must be http://host:port or https://host, without a user or a query")
        return value.rstrip("/") if value else value

    @field_validator("default_session")
    @classmethod
    def _session(cls, value: str | None) -> str | None:
        return value if value and not value.isspace() else None

    @field_validator("cloud_access_tokens")
    @classmethod
    def _pairs(cls, value: SecretStr | None) -> SecretStr | None:
        if not _are_header_values(value):
            raise ValueError("must be phone number ids with their tokens: 1234567890=EAAx,2345678901=EAAy")
        return value

    @field_validator("wppconnect_tokens")
    @classmethod
    def _session_pairs(cls, value: SecretStr | None) -> SecretStr | None:
        if not _are_header_values(value):
            raise ValueError("must be sessions with their tokens: shop=$2b$10$x,help=$2b$10$y")
        return value

    @field_validator("wppconnect_token", "evolution_api_key", "waha_api_key", "cloud_access_token")
    @classmethod
    def _header_value(cls, value: SecretStr | None) -> SecretStr | None:
        if value and not is_header_value(value.get_secret_value()):
            raise ValueError(
                "cannot be sent in a header: it has a line break, a space at its start or end, or a non-ASCII character"
            )
        return value

    @field_validator("gowa_auth")
    @classmethod
    def _login(cls, value: SecretStr | None) -> SecretStr | None:
        if value and not is_login(value.get_secret_value()):
            raise ValueError("must be one user and password of its server: user:password")
        return value

    @model_validator(mode="after")
    def _key_needs_a_server(self) -> Any:
        for key, url in KEYS_OF_SERVERS.items():
            if getattr(self, key) and not getattr(self, url):
                raise ValueError(f"{url.upper()}: is missing: {key.upper()} is only sent to that server")
        return self

    def wppconnect_token_of(self, session: str) -> str | None:
        """The token of a WPPConnect session: its own from WPPCONNECT_TOKENS, else WPPCONNECT_TOKEN."""
        return _own_or_common(session, own=self.wppconnect_tokens, common=self.wppconnect_token)

    def cloud_token(self, phone_number_id: str) -> str | None:
        """The access token of a phone number: its own from CLOUD_ACCESS_TOKENS, else CLOUD_ACCESS_TOKEN."""
        return _own_or_common(phone_number_id, own=self.cloud_access_tokens, common=self.cloud_access_token)
