"""The settings of the servers and directories that Esteira uses: Redis, database, storage, staging."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated
from urllib.parse import quote

from pydantic import Field, SecretStr, field_validator
from pydantic_settings import BaseSettings

from pipeline.config.parsers import SecretParts, fernet_keys
from pipeline.config.redis_urls import Node, is_host, parse_redis_url, redis_url_secrets
from pipeline.config.types import Measure, Port

SPOOL_OFF = "off"


class ConnectionSettings(BaseSettings):
    """The settings of servers and directories, and the URLs and paths that follow from them."""

    var_dir: Path = Path("var")
    redis_url: Annotated[SecretStr | None, SecretParts(redis_url_secrets)] = None
    redis_host: str | None = None
    redis_port: Port = 6379
    redis_db: int = Field(default=0, ge=0)
    password_redis: SecretStr | None = None
    valkey_server: str = "auto"
    database_url: SecretStr | None = None
    encryption_keys: Annotated[SecretStr | None, SecretParts(fernet_keys)] = None
    storage_url: str | None = None
    staging_dir: Path | None = None
    intake_spool: str | None = None  # None: a folder in VAR_DIR
    intake_spool_mb: Measure = 512
    intake_spool_hours: Measure = 72

    @field_validator("redis_url")
    @classmethod
    def _redis_url(cls, value: SecretStr | None) -> SecretStr | None:
        return checked_redis_url(value)

    @field_validator("redis_host")
    @classmethod
    def _redis_host(cls, value: str | None) -> str | None:
        if value and not is_host(value):
            raise ValueError("must be one host name or address; for several servers or a login, use REDIS_URL")
        return value

    @field_validator("valkey_server")
    @classmethod
    def _valkey_server(cls, value: str) -> str:
        if value not in {"auto", "bundled"} and not Path(value).is_absolute():
            raise ValueError("must be auto, bundled or the absolute path of a valkey-server or redis-server")
        return value

    @field_validator("encryption_keys")
    @classmethod
    def _encryption_keys(cls, value: SecretStr | None) -> SecretStr | None:
        if value and not fernet_keys(value.get_secret_value()):
            raise ValueError("has no key: make one with `openssl rand -base64 32 | tr '+/' '-_'`, or unset it")
        return value

    @field_validator("intake_spool")
    @classmethod
    def _intake_spool(cls, value: str | None) -> str | None:
        if value and value != SPOOL_OFF and not Path(value).is_absolute():
            raise ValueError("must be off, or the absolute path of a folder: /var/lib/esteira/spool")
        return value

    @property
    def source_keys(self) -> tuple[str, ...]:
        """The keys of ENCRYPTION_KEYS: the first encrypts, all of them decrypt. Empty without encryption."""
        return tuple(fernet_keys(self.encryption_keys.get_secret_value())) if self.encryption_keys else ()

    @property
    def redis(self) -> str:
        """The URL of Redis: REDIS_URL, else that of REDIS_HOST, else the Valkey that `esteira start` runs."""
        if self.redis_url:
            return self.redis_url.get_secret_value()
        if self.redis_host:
            password = self.password_redis.get_secret_value() if self.password_redis else ""
            login = f":{quote(password, safe='')}@" if password else ""
            return f"redis://{login}{Node(self.redis_host, self.redis_port)}/{self.redis_db}"
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
        """The URL of the database: DATABASE_URL, else a SQLite file in VAR_DIR."""
        if self.database_url:
            return self.database_url.get_secret_value()
        return f"sqlite:///{self.var_dir.absolute() / 'esteira.db'}"

    @property
    def storage(self) -> str:
        """The URL of the storage: STORAGE_URL, else a directory in VAR_DIR."""
        return self.storage_url or (self.var_dir.absolute() / "media").as_uri()

    @property
    def staging(self) -> Path:
        return self.staging_dir or self.var_dir.absolute() / "staging"

    @property
    def spool_folder(self) -> Path | None:
        """The folder of the intake spool; None if INTAKE_SPOOL is `off`."""
        if self.intake_spool == SPOOL_OFF:
            return None
        return Path(self.intake_spool) if self.intake_spool else self.var_dir.absolute() / "spool"


def checked_redis_url(value: SecretStr | None) -> SecretStr | None:
    """The URL. Raises ValueError unless it is one of Redis."""
    if value:
        parse_redis_url(value.get_secret_value())
    return value
