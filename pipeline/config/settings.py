"""The settings, from the environment and from `.env`: read once and validated. Every error names its variable."""

from __future__ import annotations

import functools
import os
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, Field, SecretStr, ValidationError, field_validator, model_validator
from pydantic_settings import NoDecode, SettingsConfigDict
from pydantic_settings import SettingsError as SourceError

from pipeline.config.connections import ConnectionSettings
from pipeline.config.cpu_count import worker_processes
from pipeline.config.events import EventSettings
from pipeline.config.fetch import FetchSettings
from pipeline.config.gateways import LOOPBACK_HOSTS
from pipeline.config.intake_rules import IntakeRule, as_intake_rules
from pipeline.config.job_retention import JobRetention, as_job_retention
from pipeline.config.limits import LimitSettings
from pipeline.config.parsers import (
    SecretParts,
    as_contact,
    as_policy,
    as_weights,
    is_sentry_dsn,
    parse_clamd_address,
    password_in,
    without_secrets,
)
from pipeline.config.token_file import read_token
from pipeline.config.types import Measure, Networks, Positive, as_list
from pipeline.config.webhooks import WebhookSettings
from pipeline.errors import SettingsError

SECRETS_DIR = Path("/run/secrets")  # where Docker and Podman mount secrets, one file each
MIN_API_TOKEN_LENGTH = 16  # characters; a person who has a signed token can try out API_TOKENs offline
Contacts = Annotated[tuple[Annotated[str, BeforeValidator(as_contact)], ...], NoDecode, BeforeValidator(as_list)]
Weight = Annotated[float, Field(ge=0.01, le=100, allow_inf_nan=False)]


class Settings(ConnectionSettings, WebhookSettings, FetchSettings, LimitSettings, EventSettings):
    """Every setting, named like its environment variable in lower case."""

    model_config = SettingsConfigDict(
        env_file=".env", env_ignore_empty=True, extra="ignore", frozen=True, hide_input_in_errors=True
    )

    # the web app
    web_host: str = "127.0.0.1"  # where `esteira start` listens
    port: int = Field(default=8000, ge=0, le=65535)
    web_workers: Positive = 1
    trusted_proxies: Networks = ()
    max_body_mb: Measure = 64
    max_upload_mb: Measure = 256
    max_batch: Positive = 1000
    dashboard: bool | None = None  # None: on if WEB_WORKERS is 1, because its pages are in the memory of one process

    # the queue
    web_concurrency: Positive = Field(default_factory=worker_processes)
    worker_threads: Positive = 8
    media_attempts: Positive = 3
    media_backoff_ms: Positive = 2000
    chain: Literal["run", "hop"] = "run"
    remove_on_complete: Annotated[JobRetention, NoDecode] = JobRetention(count=100)
    remove_on_fail: Annotated[JobRetention, NoDecode] = JobRetention(count=50)
    result_ttl_completed_s: Positive = 24 * 3600
    result_ttl_failed_s: Positive = 7 * 24 * 3600
    sweep_after_s: Measure = 30
    claim_lease_s: Measure = 30
    large_file_mb: Measure = 16
    large_file_share: Annotated[float, Field(gt=0, le=1, allow_inf_nan=False)] = 0.25
    session_weights: Annotated[dict[str, Weight], NoDecode, BeforeValidator(as_weights)] = Field(default_factory=dict)

    # the hook
    fallback: Literal["sync", "spool"] = "sync"
    fallback_concurrency: Positive = 4
    intake_sync: bool = True
    intake_rules: Annotated[tuple[IntakeRule, ...], NoDecode, BeforeValidator(as_intake_rules)] = ()

    # the sandbox
    sandbox_processes: Positive = 2
    sandbox_memory_mb: Positive = 1024
    sandbox_cpu_s: Positive = 10
    sandbox_wall_s: Measure = 20
    sandbox_confinement: Literal["strict", "best-effort"] = "strict"
    sandbox_user: Annotated[str, Field(min_length=1, max_length=100)] | None = None  # None: `nobody`, used by root

    # the antivirus
    clamd_address: str | None = None
    clamd_timeout_s: Measure = 130

    # previews
    previews: bool = True

    # API and logs
    api_token: SecretStr | None = None
    metrics_token: SecretStr | None = None
    content_redirect: bool = True
    security_contact: Contacts = ()
    security_policy: Annotated[str | None, BeforeValidator(as_policy)] = None
    audit_days: Annotated[float, Field(ge=0, le=36_500, allow_inf_nan=False)] = 365  # 0: all entries are kept
    downloads_per_link: Positive = 8
    downloads_per_address: Positive = 64
    download_stall_s: Measure = 20
    sentry_dsn: SecretStr | None = None
    allow_debuggers: bool = False
    log_level: Literal["debug", "info", "warning", "error"] = "info"
    log_format: Literal["auto", "json", "console"] = "auto"

    @field_validator("remove_on_complete", "remove_on_fail", mode="before")
    @classmethod
    def _retention(cls, value: Any) -> Any:
        return as_job_retention(value)

    @field_validator("clamd_address")
    @classmethod
    def _clamd_address(cls, value: str | None) -> str | None:
        if value:
            parse_clamd_address(value)
        return value

    @field_validator("api_token", "metrics_token")
    @classmethod
    def _long_token(cls, value: SecretStr | None) -> SecretStr | None:
        if value and len(value.get_secret_value()) < MIN_API_TOKEN_LENGTH:
            raise ValueError(
                f"is too short to be safe against guessing: it needs at least {MIN_API_TOKEN_LENGTH} characters, as "
                "`openssl rand -hex 32` makes them"
            )
        return value

    @field_validator("sentry_dsn")
    @classmethod
    def _sentry_dsn(cls, value: SecretStr | None) -> SecretStr | None:
        if value and not is_sentry_dsn(value.get_secret_value()):
            raise ValueError("must be https://key@host/number, from the Client Keys page of Sentry")
        return value

    @model_validator(mode="after")
    def _unsigned_hooks_need_a_loopback_address(self) -> Settings:
        if self.allow_unsigned_hooks and self.web_host not in LOOPBACK_HOSTS:
            raise ValueError(
                f"ALLOW_UNSIGNED_HOOKS: is only for trials on this machine, but WEB_HOST is {self.web_host}: set the "
                "gateways' secrets instead, or WEB_HOST=127.0.0.1"
            )
        return self

    @model_validator(mode="after")
    def _dashboard_needs_one_process(self) -> Settings:
        if self.dashboard and self.web_workers > 1:
            raise ValueError(
                f"DASHBOARD: needs a web app of one process, but WEB_WORKERS is {self.web_workers}: set WEB_WORKERS=1, "
                "or DASHBOARD=false here and run another web app for the dashboard"
            )
        return self

    @property
    def has_dashboard(self) -> bool:
        """Whether the web app serves the dashboard."""
        return self.web_workers == 1 if self.dashboard is None else self.dashboard

    @property
    def base_url(self) -> str:
        """The address of the web app, without a slash at its end: PUBLIC_URL, else that on this machine."""
        if self.public_url:
            return self.public_url
        host = {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(self.web_host, self.web_host)  # noqa: S104  nothing listens
        return f"http://{f'[{host}]' if ':' in host else host}:{self.port}"

    def secrets(self) -> list[str]:
        """The values that must reach no log, error or event: those of all SecretStr fields, and passwords in URLs."""
        texts: list[str] = []
        for name, info in type(self).model_fields.items():
            if isinstance(value := getattr(self, name), SecretStr):
                parts = next((mark for mark in info.metadata if isinstance(mark, SecretParts)), None)
                texts += parts.of(value.get_secret_value()) if parts else [value.get_secret_value()]
        return [*texts, *(password for text in texts if (password := password_in(text)))]


def load_settings(**overrides: Any) -> Settings:
    """The settings of this process. `overrides` take precedence over the environment.

    A setting that is in neither may be a file of its name in SECRETS_DIR. Without API_TOKEN, the token that `esteira
    start` has made in VAR_DIR is used.

    Raises:
        SettingsError: with every invalid variable, the reason and a valid example; or with a file that cannot be read.
    """
    if SECRETS_DIR.is_dir():
        overrides = {"_secrets_dir": SECRETS_DIR, **overrides}
    try:
        settings = Settings(**overrides)
        if settings.api_token is None and (token := read_token(settings.var_dir)):
            return Settings(**{**overrides, "api_token": SecretStr(token)})
        return settings
    except SourceError as error:
        if isinstance(cause := error.__cause__, UnicodeDecodeError):
            raise _no_text() from None
        if not isinstance(cause, OSError):
            raise
        raise SettingsError(f"cannot read {cause.filename}: {cause.strerror}: let this user read it") from None
    except UnicodeDecodeError:
        raise _no_text() from None
    except ValidationError as error:
        details = error.errors(include_url=False, include_input=False)
        raise SettingsError("\n".join(map(_message, details))) from None


def uses_token_file(settings: Settings) -> bool:
    """Whether the API_TOKEN is the one in VAR_DIR, and not one from the environment."""
    return settings.api_token is not None and settings.api_token.get_secret_value() == read_token(settings.var_dir)


def _no_text() -> SettingsError:
    return SettingsError(f".env or a file in {SECRETS_DIR} is not UTF-8 text: save it as UTF-8")


def _message(detail: Any) -> str:
    message = detail["msg"].removeprefix("Value error, ")
    if not detail["loc"]:
        return f"{message} (see `esteira settings`)"
    name = str(detail["loc"][0]).upper()
    value = os.environ.get(name)
    field = Settings.model_fields.get(name.lower())
    secret = field is not None and "SecretStr" in str(field.annotation)
    shown = f" {without_secrets(value)!r}" if value is not None and not secret else ""
    return f"{name}{shown}: {message} (see `esteira settings`)"


@functools.cache
def current_settings() -> Settings:
    """The settings of this process, read once."""
    return load_settings()
