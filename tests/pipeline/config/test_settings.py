"""Settings: errors that name the variable, secrets, defaults, derived URLs and the .env file."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from sentry_sdk.utils import BadDsn, Dsn

from pipeline.config.job_retention import JobRetention
from pipeline.config.settings import Settings, load_settings
from pipeline.errors import Code, SettingsError
from pipeline.models import Kind
from tests.support.webhooks import endpoints

FERNET_KEY, OTHER_KEY = f"{'A' * 42}E=", f"{'b' * 42}A="
SECRET = "a-secret-value-of-someone"
ALL_NAMES = sorted(name.upper() for name in Settings.model_fields)


@pytest.fixture(autouse=True)
def no_environment(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    for name in ALL_NAMES:
        monkeypatch.delenv(name, raising=False)
    monkeypatch.chdir(tmp_path)  # a directory without .env


def with_environment(monkeypatch: pytest.MonkeyPatch, **values: str) -> Settings:
    for name, value in values.items():
        monkeypatch.setenv(name, value)
    return load_settings()


INVALID = [
    ("REDIS_PORT", "http", "valid integer"),
    ("REDIS_PORT", "70000", "less than or equal to 65535"),
    ("REDIS_DB", "-1", "greater than or equal to 0"),
    ("MEDIA_ATTEMPTS", "0", "greater than or equal to 1"),
    ("MEDIA_ATTEMPTS", "3.5", "valid integer"),
    ("MEDIA_BACKOFF_MS", "-2000", "greater than or equal to 1"),
    ("WORKER_THREADS", "many", "valid integer"),
    ("SWEEP_AFTER_S", "0", "greater than 0"),
    ("FETCH_DEADLINE_S", "soon", "valid number"),
    ("CHAIN", "jump", "'run' or 'hop'"),
    ("FALLBACK", "later", "'sync' or 'spool'"),
    ("INTAKE_SYNC", "perhaps", "valid boolean"),
    ("MISMATCH", "ignore", "'correct' or 'reject'"),
    ("ACTIVE_DOCUMENTS", "maybe", "'accept' or 'reject'"),
    ("LOG_LEVEL", "loud", "'debug', 'info', 'warning' or 'error'"),
    ("FETCH_ALLOW_PRIVATE", "somewhere", "'somewhere' is not a network: use 10.1.2.0/24 or fd00::/8"),
    ("FETCH_ALLOW_PRIVATE", "10.0.0.0/8, somewhere", "'somewhere' is not a network"),
    ("FETCH_ALLOW_PRIVATE", "10.0.0.1/8", "'10.0.0.1/8' has host bits set"),
    ("FETCH_PORTS", "80,x", "valid integer"),
    ("FETCH_PORTS", "99999", "less than or equal to 65535"),
    ("FETCH_PORTS", "0", "greater than or equal to 1"),
    ("WHATSAPP_HOSTS", "http://x", "'http://x' is not a host name: use mmg.whatsapp.net"),
    ("WHATSAPP_HOSTS", "a.example,b/c", "'b/c' is not a host name"),
    ("WHATSAPP_HOSTS", "a.example,*b.example", "'*b.example' is not a host name"),
    ("WHATSAPP_HOSTS", "*.a.example,b.example", "must begin with a host name"),
    ("WHATSAPP_HOSTS", "user@a.example", "is not a host name"),
    ("CLAMD_ADDRESS", "/run/clamav/clamd.ctl", "must be unix:///run/clamav/clamd.ctl or tcp://host:3310"),
    ("CLAMD_TIMEOUT_S", "0", "greater than 0"),
    ("CLAIM_LEASE_S", "inf", "finite number"),
    ("SWEEP_AFTER_S", "inf", "finite number"),
    ("SWEEP_AFTER_S", "nan", "finite number"),
    ("MAX_IMAGE_MB", "inf", "finite number"),
    ("MAX_IMAGE_MB", "1e305", "less than or equal to 1000000000"),
    ("MEDIA_BACKOFF_MS", "9" * 30, "less than or equal to 1000000000"),
    ("REMOVE_ON_COMPLETE", "some", 'true, false, a number or {"age": seconds, "count": n}'),
    ("REMOVE_ON_FAIL", "-1", "greater than or equal to 0"),
    ("REMOVE_ON_FAIL", '{"cuont": 5}', 'may only contain "age" and "count"'),
    ("MAX_IMAGE_MB", "big", "valid number"),
    ("LARGE_FILE_MB", "0", "greater than 0"),
    ("LARGE_FILE_SHARE", "0", "greater than 0"),
    ("LARGE_FILE_SHARE", "1.5", "less than or equal to 1"),
    ("SESSION_WEIGHTS", "vip", "must be sessions and their weights: vip=4,test=0.5"),
    ("SESSION_WEIGHTS", "=4", "must be sessions and their weights"),
    ("SESSION_WEIGHTS", "vip=much", "valid number"),
    ("SESSION_WEIGHTS", "vip=0", "greater than or equal to 0.01"),
    ("SESSION_WEIGHTS", "vip=nan", "finite number"),
]


@pytest.mark.parametrize(("name", "value", "remedy"), INVALID, ids=[f"{name}={value}" for name, value, _ in INVALID])
def test_invalid_setting_is_reported_with_name_value_and_remedy(
    monkeypatch: pytest.MonkeyPatch, name: str, value: str, remedy: str
) -> None:
    with pytest.raises(SettingsError) as caught:
        with_environment(monkeypatch, **{name: value})
    message = caught.value.message
    assert caught.value.code == Code.BAD_SETTING
    assert message.startswith(f"{name} {value!r}: ")
    assert remedy in message
    assert "`esteira settings`" in message
    assert len(message.splitlines()) == 1


def test_all_invalid_settings_are_reported_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(SettingsError) as caught:
        with_environment(monkeypatch, REDIS_PORT="x", CHAIN="y")
    assert [line.split()[0] for line in caught.value.message.splitlines()] == ["REDIS_PORT", "CHAIN"]


def test_webhook_url_requires_a_secret(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(SettingsError, match=r"^bad_setting: WEBHOOK_SECRET: is missing") as caught:
        with_environment(monkeypatch, WEBHOOK_URL=f"https://{SECRET}@example.com/hook")
    assert SECRET not in str(caught.value)


def test_short_webhook_secret_is_refused_and_not_shown(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(SettingsError, match=r"WEBHOOK_SECRET: .*whsec_") as caught:
        with_environment(monkeypatch, WEBHOOK_SECRET="tiny-secret", WEBHOOK_URL="https://example.com")
    assert "tiny" not in str(caught.value)


@pytest.mark.parametrize(
    "dsn",
    [
        "nonsense-SECRET",
        "https://sentry.example/SECRET",
        "https://SECRET@sentry.example/",
        "https://SECRET@sentry.example/name",
        "https://SECRET@/1",
        "https://SECRET@sentry.example:port/1",
        "ftp://SECRET@sentry.example/1",
        "https://SECRET@[/1",
    ],
)
def test_invalid_sentry_dsn_is_refused_and_not_shown(monkeypatch: pytest.MonkeyPatch, dsn: str) -> None:
    with pytest.raises(SettingsError, match=r"SENTRY_DSN: must be https://key@host/number") as caught:
        with_environment(monkeypatch, SENTRY_DSN=dsn)
    assert "SECRET" not in str(caught.value)
    with pytest.raises((BadDsn, ValueError)):
        Dsn(dsn)


@pytest.mark.parametrize("dsn", ["https://key@o1.ingest.sentry.io/42", "http://key:secret@sentry.internal:9000/a/7"])
def test_valid_sentry_dsn_is_accepted(monkeypatch: pytest.MonkeyPatch, dsn: str) -> None:
    kept = with_environment(monkeypatch, SENTRY_DSN=dsn).sentry_dsn
    assert kept
    assert Dsn(kept.get_secret_value()).project_id in {"42", "7"}


def test_whatsapp_hosts_are_read_as_lower_case_hosts_and_ports(monkeypatch: pytest.MonkeyPatch) -> None:
    settings = with_environment(monkeypatch, WHATSAPP_HOSTS="MMG.whatsapp.net, 127.0.0.1:8443,media,*.Example.com,*")
    assert settings.whatsapp_hosts == ("mmg.whatsapp.net", "127.0.0.1:8443", "media", "*.example.com", "*")


def test_settings_repr_and_json_contain_no_secret(monkeypatch: pytest.MonkeyPatch) -> None:
    secret_fields = [name for name, field in Settings.model_fields.items() if "SecretStr" in str(field.annotation)]
    assert {"redis_url", "password_redis", "database_url", "webhook_secret", "api_token", "sentry_dsn"} <= set(
        secret_fields
    )
    values = {name: f"{SECRET}-{name}" for name in secret_fields}
    values |= {"redis_url": f"unix:///{SECRET}-redis_url", "sentry_dsn": f"https://{SECRET}-sentry_dsn@host/1"}
    values |= {"fetch_proxy": f"http://user:{SECRET}-fetch_proxy@proxy:3128"}
    values |= {"gowa_auth": f"admin:{SECRET}-gowa_auth", "cloud_access_tokens": f"123={SECRET}-of-123"}
    values |= {"node_socketio_redis_url": f"unix:///{SECRET}-node"}
    values |= {"webhook_secret": "whsec_c2VjcmV0LW9mLXNvbWVvbmU=", "encryption_keys": FERNET_KEY}
    values |= {"webhook_endpoints": endpoints({"name": "crm", "url": f"https://{SECRET}.example/"})}
    values |= {"wppconnect_tokens": f"shop={SECRET}-of-shop"}
    environment = {name.upper(): value for name, value in values.items()}
    urls = {f"{gateway}_URL": "http://localhost:3000" for gateway in ("WAHA", "GOWA", "EVOLUTION", "WPPCONNECT")}
    settings = with_environment(monkeypatch, **environment, **urls)
    assert SECRET not in f"{settings!r} {settings}"
    assert SECRET not in settings.model_dump_json()
    assert {*values.values(), f"{SECRET}-of-123", f"{SECRET}-of-shop"} <= set(settings.secrets())


def test_passwords_in_urls_are_secrets(monkeypatch: pytest.MonkeyPatch) -> None:
    settings = with_environment(
        monkeypatch,
        REDIS_URL="redis://:redis-word@h/0",
        DATABASE_URL="postgresql://u:data-word@h/d",
        API_TOKEN="http://[a-broken-one",
    )
    assert {"redis-word", "data-word", "http://[a-broken-one"} <= set(settings.secrets())


@pytest.mark.parametrize(
    ("value", "retention"),
    [
        ("true", JobRetention(count=0)),
        ("false", JobRetention()),
        ("0", JobRetention(count=0)),
        ("250", JobRetention(count=250)),
        ('{"age": 3600}', JobRetention(age=3600)),
        ('{"age": 3600, "count": 5}', JobRetention(age=3600, count=5)),
        ("{}", JobRetention()),
    ],
)
def test_job_retention_reads_the_forms_of_bullmq(
    monkeypatch: pytest.MonkeyPatch, value: str, retention: JobRetention
) -> None:
    settings = with_environment(monkeypatch, REMOVE_ON_COMPLETE=value, REMOVE_ON_FAIL=value)
    assert (settings.remove_on_complete, settings.remove_on_fail) == (retention, retention)


def test_defaults_are_those_of_the_bullmq_design() -> None:
    settings = load_settings()
    assert (settings.media_attempts, settings.media_backoff_ms) == (3, 2000)
    assert (settings.remove_on_complete, settings.remove_on_fail) == (JobRetention(count=100), JobRetention(count=50))
    assert settings.embedded


@pytest.mark.parametrize(
    ("environment", "url"),
    [
        ({"REDIS_HOST": "redis.internal"}, "redis://redis.internal:6379/0"),
        ({"REDIS_HOST": "h", "REDIS_PORT": "7000", "REDIS_DB": "3"}, "redis://h:7000/3"),
        ({"REDIS_HOST": "h", "PASSWORD_REDIS": "a b/@:"}, "redis://:a%20b%2F%40%3A@h:6379/0"),
        ({"REDIS_URL": "rediss://u:p@cloud:1/2", "REDIS_HOST": "h"}, "rediss://u:p@cloud:1/2"),
    ],
)
def test_redis_url_is_the_setting_or_built_from_host_port_and_password(
    monkeypatch: pytest.MonkeyPatch, environment: dict[str, str], url: str
) -> None:
    settings = with_environment(monkeypatch, **environment)
    assert (settings.redis, settings.embedded) == (url, False)


def test_default_paths_are_under_var_dir(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    settings = with_environment(monkeypatch, VAR_DIR=str(tmp_path / "v a r"), REDIS_URL="", STAGING_DIR="")
    assert settings.database == f"sqlite:///{tmp_path}/v a r/esteira.db"
    assert settings.storage == f"file://{tmp_path}/v%20a%20r/media"
    assert settings.staging == tmp_path / "v a r" / "staging"
    assert settings.redis == f"unix://{tmp_path}/v a r/valkey.sock"


def test_lists_are_separated_by_commas(monkeypatch: pytest.MonkeyPatch) -> None:
    settings = with_environment(
        monkeypatch, FETCH_ALLOW_PRIVATE=" 10.0.0.0/8,fd00::/8 ,", FETCH_PORTS="80, 8443", ALLOWED_TYPES="avif,csv"
    )
    assert [str(network) for network in settings.fetch_allow_private] == ["10.0.0.0/8", "fd00::/8"]
    assert settings.fetch_ports == (80, 8443)
    assert settings.allowed_types == {"avif", "csv"}


def test_session_weights_are_read_as_numbers(monkeypatch: pytest.MonkeyPatch) -> None:
    assert with_environment(monkeypatch, SESSION_WEIGHTS="vip=4, test=0.5,a=b=2").session_weights == {
        "vip": 4,
        "test": 0.5,
        "a=b": 2,
    }


def test_max_bytes_is_set_per_kind_and_the_largest_for_an_unknown_kind(monkeypatch: pytest.MonkeyPatch) -> None:
    settings = with_environment(monkeypatch, MAX_IMAGE_MB="0.5", MAX_DOCUMENT_MB="3000")
    limits = [settings.max_bytes(kind) for kind in Kind]
    assert limits == [500_000, 256_000_000, 64_000_000, 64_000_000, 3_000_000_000, 1_000_000]
    assert settings.max_bytes(None) == max(limits)


def test_environment_overrides_the_env_file(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    (tmp_path / ".env").write_text("MEDIA_ATTEMPTS=5\nMEDIA_BACKOFF_MS=10\nUNKNOWN=1\n")
    settings = with_environment(monkeypatch, MEDIA_BACKOFF_MS="20")
    assert (settings.media_attempts, settings.media_backoff_ms) == (5, 20)


def test_invalid_line_of_the_env_file_is_reported(tmp_path: Path) -> None:
    (tmp_path / ".env").write_text("MEDIA_ATTEMPTS=none\n")
    with pytest.raises(SettingsError, match="MEDIA_ATTEMPTS"):
        load_settings()


def test_setting_names_are_valid_variable_names() -> None:
    assert all(re.fullmatch(r"[A-Z][A-Z0-9_]+", name) for name in ALL_NAMES)


SECRET_WORDS = ("_secret", "_token", "_tokens", "_key", "_keys", "password", "_dsn")
NOT_SECRET = {"node_socketio_key"}  # the prefix of the Redis channels of @socket.io/redis-adapter
VALUES = {
    "redis_url": "redis://:{}@localhost:6379/0",
    "node_socketio_redis_url": "redis://:{}@localhost:6379/0",
    "database_url": "postgresql://u:{}@localhost/e",
    "sentry_dsn": "https://{}@sentry.example/1",
    "cloud_access_tokens": "1={}",
    "wppconnect_tokens": "shop={}",
    "gowa_auth": "admin:{}",
    "fetch_proxy": "*=socks5://user:{}@proxy:1080",
    "webhook_url": "https://hooks.example/{}",
    "webhook_secret": "whsec_{}",
    "encryption_keys": FERNET_KEY,
    "webhook_endpoints": '[{{"name": "a", "url": "https://a.example", "secret": "whsec_{}"}}]',
}


def test_every_setting_with_a_secret_name_is_a_secret_field() -> None:
    fields = {name for name in Settings.model_fields if name.endswith(SECRET_WORDS) or name.startswith("password")}
    plain = {name for name in fields - NOT_SECRET if "SecretStr" not in str(Settings.model_fields[name].annotation)}
    assert plain == set()


@pytest.mark.parametrize("name", [n for n, f in Settings.model_fields.items() if "SecretStr" in str(f.annotation)])
def test_secrets_lists_the_value_of_every_secret_field(name: str) -> None:
    secret = "c2VjcmV0LW9mLXRoZS10ZXN0cy0yNC1i"
    gateways = ("waha", "gowa", "evolution", "wppconnect")
    needed = {f"{gateway}_url": "http://gateway.example" for gateway in gateways} | {
        "webhook_secret": f"whsec_{secret}"
    }
    values = needed | {name: VALUES.get(name, "{}").format(secret)}
    secrets = load_settings(_env_file=None, **values).secrets()
    assert values[name] in secrets or name == "webhook_secret"
    assert secret in secrets or name in {"webhook_url", "sentry_dsn", "encryption_keys"}


def test_encryption_keys_are_read_in_order_and_are_secrets_one_by_one(monkeypatch: pytest.MonkeyPatch) -> None:
    settings = with_environment(monkeypatch, ENCRYPTION_KEYS=f" {FERNET_KEY}, {OTHER_KEY},")
    assert settings.source_keys == (FERNET_KEY, OTHER_KEY)
    assert {FERNET_KEY, OTHER_KEY} <= set(settings.secrets())
    assert load_settings(_env_file=None, encryption_keys=None).source_keys == ()


@pytest.mark.parametrize(
    ("keys", "fault"),
    [
        ("short", "key 1 of 1 is not 32 bytes"),
        (f"{FERNET_KEY},{OTHER_KEY[:-2]}=", "key 2 of 2 is not 32 bytes"),
        (FERNET_KEY.replace("A", "+"), "key 1 of 1 is not 32 bytes"),
        (f"{FERNET_KEY},{FERNET_KEY}", "the same key twice"),
        (" , ", "has no key"),
    ],
)
def test_wrong_encryption_keys_are_refused_without_showing_them(
    monkeypatch: pytest.MonkeyPatch, keys: str, fault: str
) -> None:
    with pytest.raises(SettingsError, match=f"ENCRYPTION_KEYS: .*{fault}") as caught:
        with_environment(monkeypatch, ENCRYPTION_KEYS=keys)
    assert FERNET_KEY not in caught.value.message
    assert OTHER_KEY[:40] not in caught.value.message
    assert "openssl rand -base64 32" in caught.value.message or "twice" in caught.value.message
