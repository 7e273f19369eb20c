"""Settings from the environment and from `.env`: read once, validated, named in every error."""

from __future__ import annotations

import functools
import ipaddress
import json
import os
from pathlib import Path
from typing import Annotated, Any, Literal
from urllib.parse import quote

from pydantic import BeforeValidator, Field, SecretStr, ValidationError, field_validator, model_validator
from pydantic_settings import NoDecode, SettingsConfigDict

from pipeline.config.cpu_count import worker_processes
from pipeline.config.gateways import LOOPBACK_HOSTS
from pipeline.config.parsers import (
    as_host,
    as_network,
    as_origin,
    as_rates,
    as_weights,
    clamd_place,
    is_redis_url,
    is_sentry_dsn,
    password_in,
    secret_pairs,
    without_secrets,
)
from pipeline.config.webhooks import WebhookSettings
from pipeline.errors import SettingsError
from pipeline.models import Kind, Model

MB = 1_000_000
Network = ipaddress.IPv4Network | ipaddress.IPv6Network
# With a thousand million of anything no sum overflows on the way to a queue, a database or the kernel.
Positive = Annotated[int, Field(ge=1, le=1_000_000_000)]
Measure = Annotated[float, Field(gt=0, le=1_000_000_000, allow_inf_nan=False)]
Port = Annotated[int, Field(ge=1, le=65535)]
Weight = Annotated[float, Field(ge=0.01, le=100, allow_inf_nan=False)]


class JobRetention(Model):
    """How many finished jobs the ledger keeps, as in BullMQ's removeOnComplete and removeOnFail.

    `count` None keeps all, 0 keeps none; `age` is in seconds, None keeps for any age.
    """

    count: int | None = Field(default=None, ge=0)
    age: int | None = Field(default=None, ge=0)


class Settings(WebhookSettings):
    """Every setting, named as its environment variable in lower case."""

    model_config = SettingsConfigDict(
        env_file=".env", env_ignore_empty=True, extra="ignore", frozen=True, hide_input_in_errors=True
    )

    # where things are
    var_dir: Path = Path("var")
    redis_url: SecretStr | None = None
    redis_host: str | None = None
    redis_port: Port = 6379
    redis_db: int = Field(default=0, ge=0)
    password_redis: SecretStr | None = None
    database_url: SecretStr | None = None
    storage_url: str | None = None
    staging_dir: Path | None = None

    # the web app
    web_host: str = "127.0.0.1"  # where `esteira start` listens
    port: int = Field(default=8000, ge=0, le=65535)
    web_workers: Positive = 1
    max_body_mb: Measure = 64
    max_batch: Positive = 1000
    dashboard: bool | None = None  # not set: where one process serves, for its pages live in the memory of one

    # the belt
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

    # fetch
    fetch_allow_private: Annotated[tuple[Annotated[Network, BeforeValidator(as_network)], ...], NoDecode] = ()
    fetch_ports: Annotated[tuple[Port, ...], NoDecode] = (80, 443)
    fetch_per_host: Positive = 8
    fetch_rate: Annotated[dict[str, Measure], NoDecode, BeforeValidator(as_rates)] = Field(default_factory=dict)
    fetch_once: Literal["session", "all", "off"] = "session"
    fetch_connect_timeout_s: Measure = 5
    fetch_read_timeout_s: Measure = 15
    fetch_deadline_s: Measure = 60  # and one second more for each FETCH_MIN_BYTES_PER_S of the file
    fetch_min_bytes_per_s: Positive = 256 * 1024
    whatsapp_hosts: Annotated[tuple[Annotated[str, BeforeValidator(as_host)], ...], NoDecode] = ("mmg.whatsapp.net",)

    # types and limits
    allowed_types: Annotated[frozenset[str], NoDecode] = frozenset()
    mismatch: Literal["correct", "reject"] = "correct"
    active_documents: Literal["accept", "reject"] = "accept"
    max_image_mb: Measure = 16
    max_sticker_mb: Measure = 1
    max_video_mb: Measure = 256
    max_audio_mb: Measure = 64
    max_document_mb: Measure = 2000
    max_image_mpx: Measure = 50
    max_frames: Positive = 1000
    max_pages: Positive = 10_000
    max_duration_s: Positive = 6 * 3600
    max_expansion_ratio: Positive = 100
    max_entries: Positive = 10_000

    # the sandbox
    sandbox_processes: Positive = 2
    sandbox_memory_mb: Positive = 1024
    sandbox_cpu_s: Positive = 10
    sandbox_wall_s: Measure = 20

    # the antivirus
    clamd_address: str | None = None
    clamd_timeout_s: Measure = 130

    # previews
    previews: bool = True

    # announcements
    event_history: int = Field(default=1000, ge=0, le=100_000)  # 0: no live events
    socket_clients: Positive = 1000
    socket_origins: Annotated[tuple[Annotated[str, BeforeValidator(as_origin)], ...], NoDecode] = ()
    notify_node_socketio: bool = False
    node_socketio_redis_url: SecretStr | None = None
    node_socketio_key: str = Field(default="socket.io", min_length=1, max_length=200)
    node_socketio_namespace: str = Field(default="/", pattern=r"^/[^#?,*\[\]]*$")
    node_socketio_room: Literal["session", "all"] = "session"

    # seen from outside
    api_token: SecretStr | None = None
    metrics_token: SecretStr | None = None
    content_redirect: bool = True
    sentry_dsn: SecretStr | None = None
    log_level: Literal["debug", "info", "warning", "error"] = "info"
    log_format: Literal["auto", "json", "console"] = "auto"

    @field_validator("remove_on_complete", "remove_on_fail", mode="before")
    @classmethod
    def _retention(cls, value: Any) -> Any:
        return _as_retention(value)

    @field_validator(
        *("fetch_allow_private", "fetch_ports", "whatsapp_hosts", "allowed_types", "socket_origins"), mode="before"
    )
    @classmethod
    def _listed(cls, value: Any) -> Any:
        return [part.strip() for part in value.split(",") if part.strip()] if isinstance(value, str) else value

    @field_validator("redis_url", "node_socketio_redis_url")
    @classmethod
    def _redis_url(cls, value: SecretStr | None) -> SecretStr | None:
        if value and not is_redis_url(value.get_secret_value()):
            raise ValueError("must be redis://, rediss:// or unix://, such as redis://:password@host:6379/0")
        return value

    @field_validator("clamd_address")
    @classmethod
    def _clamd_address(cls, value: str | None) -> str | None:
        if value:
            clamd_place(value)
        return value

    @field_validator("sentry_dsn")
    @classmethod
    def _sentry_dsn(cls, value: SecretStr | None) -> SecretStr | None:
        if value and not is_sentry_dsn(value.get_secret_value()):
            raise ValueError("must be https://key@host/number, as Sentry shows it under Client Keys")
        return value

    @model_validator(mode="after")
    def _unsigned_stay_at_home(self) -> Settings:
        if self.allow_unsigned_hooks and self.web_host not in LOOPBACK_HOSTS:
            raise ValueError(
                f"ALLOW_UNSIGNED_HOOKS: is for trials on this machine alone, and WEB_HOST is {self.web_host}: set the "
                "gateways' secrets instead, or WEB_HOST=127.0.0.1"
            )
        return self

    @model_validator(mode="after")
    def _dashboard_lives_in_one_process(self) -> Settings:
        if self.dashboard and self.web_workers > 1:
            raise ValueError(
                f"DASHBOARD: needs a web app of one process, and WEB_WORKERS is {self.web_workers}: set WEB_WORKERS=1, "
                "or DASHBOARD=false here and run another web app beside for the dashboard"
            )
        return self

    @property
    def has_dashboard(self) -> bool:
        """Whether the web app serves the dashboard."""
        return self.web_workers == 1 if self.dashboard is None else self.dashboard

    @property
    def redis(self) -> str:
        """The URL of Redis: REDIS_URL, else the seed's REDIS_HOST, else the Valkey that `esteira start` runs."""
        if self.redis_url:
            return self.redis_url.get_secret_value()
        if self.redis_host:
            password = self.password_redis.get_secret_value() if self.password_redis else ""
            login = f":{quote(password, safe='')}@" if password else ""
            return f"redis://{login}{self.redis_host}:{self.redis_port}/{self.redis_db}"
        return f"unix://{self.embedded_socket}"

    @property
    def embedded(self) -> bool:
        """Whether Redis is the Valkey that `esteira start` runs: neither REDIS_URL nor REDIS_HOST is set."""
        return not (self.redis_url or self.redis_host)

    @property
    def embedded_socket(self) -> Path:
        return self.var_dir.absolute() / "valkey.sock"

    @property
    def database(self) -> str:
        if self.database_url:
            return self.database_url.get_secret_value()
        return f"sqlite:///{self.var_dir.absolute() / 'esteira.db'}"

    @property
    def storage(self) -> str:
        return self.storage_url or (self.var_dir.absolute() / "media").as_uri()

    @property
    def staging(self) -> Path:
        return self.staging_dir or self.var_dir.absolute() / "staging"

    def max_bytes(self, kind: Kind | None) -> int:
        """The size limit of a kind in bytes; the largest of all where the kind is not known yet."""
        limits = {
            Kind.IMAGE: self.max_image_mb,
            Kind.STICKER: self.max_sticker_mb,
            Kind.VIDEO: self.max_video_mb,
            Kind.AUDIO: self.max_audio_mb,
            Kind.PTT: self.max_audio_mb,
            Kind.DOCUMENT: self.max_document_mb,
        }
        return int((limits[kind] if kind else max(limits.values())) * MB)

    def secrets(self) -> list[str]:
        """Values that must reach no log, error or event."""
        given = [getattr(self, name) for name in type(self).model_fields]
        plain = [value.get_secret_value() for value in given if isinstance(value, SecretStr)]
        if self.cloud_access_tokens:
            plain += (secret_pairs(self.cloud_access_tokens.get_secret_value()) or {}).values()
        plain += self.webhook_secrets
        return [*plain, *(password for url in plain if (password := password_in(url)))]


def _as_retention(value: Any) -> Any:
    """`true` removes at once, `false` keeps all, a number keeps so many, an object has `age` and `count`."""
    if isinstance(value, str):
        try:
            value = json.loads(value)
        except json.JSONDecodeError:
            raise ValueError('must be true, false, a number or {"age": seconds, "count": n}') from None
    if isinstance(value, bool):
        return JobRetention(count=0) if value else JobRetention()
    if isinstance(value, int):
        return JobRetention(count=value)
    if isinstance(value, dict) and not set(value) <= {"age", "count"}:
        raise ValueError('knows only "age" and "count"')
    return value


def load_settings(**given: Any) -> Settings:
    """The settings of this process. `given` takes precedence over the environment.

    Raises:
        SettingsError: naming every variable that is wrong, what is wrong with it and what would be right.
    """
    try:
        return Settings(**given)
    except ValidationError as error:
        faults = error.errors(include_url=False, include_input=False)
        raise SettingsError("\n".join(map(_fault, faults))) from None


def _fault(fault: Any) -> str:
    message = fault["msg"].removeprefix("Value error, ")
    if not fault["loc"]:
        return f"{message} (see .env.example)"
    name = str(fault["loc"][0]).upper()
    value = os.environ.get(name)
    field = Settings.model_fields.get(name.lower())
    secret = field is not None and "SecretStr" in str(field.annotation)
    shown = f" {without_secrets(value)!r}" if value is not None and not secret else ""
    return f"{name}{shown}: {message} (see .env.example)"


@functools.cache
def current_settings() -> Settings:
    """The settings of this process, read once."""
    return load_settings()
