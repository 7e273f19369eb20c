"""The settings of the gateways: secrets of their hooks, addresses of their servers, limits."""

from __future__ import annotations

import base64
from typing import Annotated, Any

from pydantic import Field, SecretStr, field_validator, model_validator
from pydantic_settings import BaseSettings

from pipeline.config.parsers import SecretParts, is_header_value, is_login, is_web_url, secret_pairs

LOOPBACK_HOSTS = frozenset({"127.0.0.1", "::1", "localhost"})


def _tokens(value: str) -> list[str]:
    return [value, *(secret_pairs(value) or {}).values()]


def _login_parts(value: str) -> list[str]:
    return [value, value.partition(":")[2], base64.b64encode(value.encode()).decode()]


class GatewaySettings(BaseSettings):
    """The settings of the gateways, named like their environment variables in lower case."""

    wppconnect_secret: SecretStr | None = None
    evolution_jwt_key: SecretStr | None = None
    evolution_secret: SecretStr | None = None
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

    default_session: Annotated[str | None, Field(max_length=512)] = None
    allow_unsigned_hooks: bool = False
    hook_rate_per_minute: Annotated[int, Field(ge=0, le=1_000_000_000)] = 6000
    hook_body_timeout_s: Annotated[float, Field(gt=0, le=3600)] = 10

    @field_validator("waha_url", "gowa_url", "cloud_graph_url")
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
        pairs = secret_pairs(value.get_secret_value()) if value else {}
        if pairs is None or not all(map(is_header_value, pairs.values())):
            raise ValueError("must be phone number ids with their tokens: 1234567890=EAAx,2345678901=EAAy")
        return value

    @field_validator("waha_api_key", "cloud_access_token")
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
        if self.waha_api_key and not self.waha_url:
            raise ValueError("WAHA_URL: is missing: WAHA_API_KEY is only sent to that server")
        if self.gowa_auth and not self.gowa_url:
            raise ValueError("GOWA_URL: is missing: GOWA_AUTH is only sent to that server")
        return self

    def cloud_token(self, phone_number_id: str) -> str | None:
        """The access token of a phone number: its own from CLOUD_ACCESS_TOKENS, else CLOUD_ACCESS_TOKEN."""
        own = secret_pairs(self.cloud_access_tokens.get_secret_value()) if self.cloud_access_tokens else None
        if own and phone_number_id in own:
            return own[phone_number_id]
        return self.cloud_access_token.get_secret_value() if self.cloud_access_token else None
