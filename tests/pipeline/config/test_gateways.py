"""Settings of the gateways' hooks: accepted values, defaults and error messages."""

from __future__ import annotations

import base64
import re
from pathlib import Path

import pytest

from pipeline.config.settings import Settings, load_settings
from pipeline.errors import SettingsError

SECRET = "a-secret-of-the-tests"
SECRETS = [
    "WPPCONNECT_SECRET",
    "EVOLUTION_JWT_KEY",
    "EVOLUTION_SECRET",
    "WAHA_HMAC_KEY",
    "WAHA_API_KEY",
    "GOWA_WEBHOOK_SECRET",
    "CLOUD_APP_SECRET",
    "CLOUD_VERIFY_TOKEN",
    "CLOUD_ACCESS_TOKEN",
]


@pytest.fixture(autouse=True)
def no_environment(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    for name in Settings.model_fields:
        monkeypatch.delenv(name.upper(), raising=False)
    monkeypatch.chdir(tmp_path)  # a directory without .env


def loaded(monkeypatch: pytest.MonkeyPatch, **values: str) -> Settings:
    for name, value in values.items():
        monkeypatch.setenv(name, value)
    return load_settings()


def refused(monkeypatch: pytest.MonkeyPatch, **values: str) -> str:
    with pytest.raises(SettingsError) as caught:
        loaded(monkeypatch, **values)
    return caught.value.message


def test_hooks_have_no_secrets_and_require_signatures_by_default(monkeypatch: pytest.MonkeyPatch) -> None:
    settings = loaded(monkeypatch)
    assert [getattr(settings, name.lower()) for name in SECRETS] == [None] * len(SECRETS)
    assert settings.cloud_access_tokens is settings.waha_url is None
    assert settings.allow_unsigned_hooks is False


@pytest.mark.parametrize("name", SECRETS)
def test_secret_is_read_and_hidden_in_the_repr(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    settings = loaded(monkeypatch, **{"WAHA_URL": "http://waha:3000", name: SECRET})
    assert getattr(settings, name.lower()).get_secret_value() == SECRET
    assert SECRET in settings.secrets()
    assert SECRET not in repr(settings)


@pytest.mark.parametrize("name", SECRETS)
def test_empty_secret_is_none(name: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    assert getattr(loaded(monkeypatch, **{name: ""}), name.lower()) is None
    monkeypatch.delenv(name)
    (tmp_path / ".env").write_text(f"{name}=\n")
    assert getattr(load_settings(), name.lower()) is None


@pytest.mark.parametrize("name", ["WAHA_URL", "GOWA_URL", "CLOUD_GRAPH_URL"])
@pytest.mark.parametrize(
    ("url", "expected"),
    [
        ("http://waha:3000", "http://waha:3000"),
        ("https://waha.example/", "https://waha.example"),
        ("https://waha.example/under/here//", "https://waha.example/under/here"),
        ("http://[::1]:3000/", "http://[::1]:3000"),
    ],
)
def test_server_url_loses_its_trailing_slashes(
    name: str, url: str, expected: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert getattr(loaded(monkeypatch, **{name: url}), name.lower()) == expected


@pytest.mark.parametrize("name", ["WAHA_URL", "GOWA_URL", "CLOUD_GRAPH_URL"])
@pytest.mark.parametrize(
    "url",
    [
        "waha:3000",
        "ftp://waha",
        "http://",
        "http:///x",
        "http://waha:0",
        "http://waha:99999",
        "http://waha:x",
        "http://[::1",
        "https://user@waha",
        "https://:x@waha",
        "https://@waha",
        "https://waha/?x=1",
        "https://waha/#x",
        "https://waha?",
        "https://waha#",
        "https://waha\n",
        "https://waha/a b",
        "https://waha\\x",
    ],
)
def test_invalid_server_url_is_refused(name: str, url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    message = refused(monkeypatch, **{name: url})
    assert re.match(rf"{name} '.*': must be http://host:port or https://host, without a user or a query", message)


def test_refused_url_is_shown_without_its_secrets(monkeypatch: pytest.MonkeyPatch) -> None:
    message = refused(monkeypatch, WAHA_URL=f"https://waha:{SECRET}@waha.example/under?key={SECRET}")
    assert message.startswith("WAHA_URL 'https://[hidden]@waha.example/under?[hidden]': must be")


@pytest.mark.parametrize("name", ["WAHA_API_KEY", "CLOUD_ACCESS_TOKEN"])
@pytest.mark.parametrize("template", ["{}\n", " {}", "{} ", "ключ-{}", "{}\tx", "{}\r\nX-Injected: 1"])
def test_secret_invalid_in_a_header_is_refused_and_not_shown(
    name: str, template: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    message = refused(monkeypatch, **{"WAHA_URL": "http://waha:3000", name: template.format(SECRET)})
    assert message.startswith(f"{name}: cannot be sent in a header")
    assert SECRET not in message


def test_waha_api_key_requires_waha_url(monkeypatch: pytest.MonkeyPatch) -> None:
    message = refused(monkeypatch, WAHA_API_KEY=SECRET)
    assert "WAHA_URL: is missing" in message
    assert SECRET not in message
    assert loaded(monkeypatch, WAHA_URL="http://waha:3000").waha_api_key is not None


def test_gowa_auth_is_a_user_and_a_password_and_hidden(monkeypatch: pytest.MonkeyPatch) -> None:
    settings = loaded(monkeypatch, GOWA_URL="http://gowa:3000/base", GOWA_AUTH=f"admin:{SECRET}")
    assert settings.gowa_auth is not None
    assert {SECRET, f"admin:{SECRET}", base64.b64encode(f"admin:{SECRET}".encode()).decode()} <= set(settings.secrets())
    assert SECRET not in repr(settings)


@pytest.mark.parametrize("template", ["{}", ":{}", "{}:", "admin:{}\n", " admin:{}", "admin:{}\r\nX-Injected: 1"])
def test_malformed_gowa_auth_is_refused_and_not_shown(template: str, monkeypatch: pytest.MonkeyPatch) -> None:
    message = refused(monkeypatch, GOWA_URL="http://gowa:3000", GOWA_AUTH=template.format(SECRET))
    assert message.startswith("GOWA_AUTH: must be one user and password")
    assert SECRET not in message


def test_gowa_auth_requires_gowa_url(monkeypatch: pytest.MonkeyPatch) -> None:
    message = refused(monkeypatch, GOWA_AUTH=f"admin:{SECRET}")
    assert "GOWA_URL: is missing" in message
    assert SECRET not in message


def test_phone_number_has_its_own_token_or_the_common_one(monkeypatch: pytest.MonkeyPatch) -> None:
    assert loaded(monkeypatch).cloud_token("123") is None
    assert loaded(monkeypatch, CLOUD_ACCESS_TOKENS=" 123=EAAx== , 234 = EAAy,").cloud_token("123") == "EAAx=="
    assert load_settings().cloud_token("234") == "EAAy"
    assert load_settings().cloud_token("345") is None
    both = loaded(monkeypatch, CLOUD_ACCESS_TOKEN="EAAz")
    assert [both.cloud_token(number) for number in ("123", "234", "345", "")] == ["EAAx==", "EAAy", "EAAz", "EAAz"]
    assert {"EAAx==", "EAAy", "EAAz"} <= set(both.secrets())


@pytest.mark.parametrize(
    "pairs", [SECRET, f"{SECRET},1=x", f"=  {SECRET}", f"{SECRET}=", f"1={SECRET},2=", f"1=ключ-{SECRET}", ",", "="]
)
def test_malformed_access_tokens_are_refused_and_not_shown(pairs: str, monkeypatch: pytest.MonkeyPatch) -> None:
    message = refused(monkeypatch, CLOUD_ACCESS_TOKENS=pairs)
    assert message.startswith("CLOUD_ACCESS_TOKENS: must be phone number ids with their tokens")
    assert SECRET not in message


@pytest.mark.parametrize(
    ("host", "is_loopback"), [("127.0.0.1", True), ("::1", True), ("localhost", True), ("0.0.0.0", False)]
)
def test_unsigned_hooks_require_a_loopback_web_host(
    host: str, is_loopback: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    if is_loopback:
        assert loaded(monkeypatch, ALLOW_UNSIGNED_HOOKS="true", WEB_HOST=host).allow_unsigned_hooks
    else:
        message = refused(monkeypatch, ALLOW_UNSIGNED_HOOKS="true", WEB_HOST=host)
        assert "ALLOW_UNSIGNED_HOOKS" in message
        assert "WEB_HOST=127.0.0.1" in message
    assert loaded(monkeypatch, ALLOW_UNSIGNED_HOOKS="false", WEB_HOST=host).web_host == host


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("HOOK_RATE_PER_MINUTE", "-1"),
        ("HOOK_RATE_PER_MINUTE", "1.5"),
        ("HOOK_BODY_TIMEOUT_S", "0"),
        ("HOOK_BODY_TIMEOUT_S", "nan"),
        ("HOOK_BODY_TIMEOUT_S", "inf"),
        ("WAHA_FILES_LIFETIME_S", "-1"),
        ("ALLOW_UNSIGNED_HOOKS", "perhaps"),
    ],
)
def test_invalid_limit_is_refused(name: str, value: str, monkeypatch: pytest.MonkeyPatch) -> None:
    assert refused(monkeypatch, **{name: value}).startswith(f"{name} '{value}': ")


def test_zero_disables_limits(monkeypatch: pytest.MonkeyPatch) -> None:
    settings = loaded(monkeypatch, HOOK_RATE_PER_MINUTE="0", WAHA_FILES_LIFETIME_S="0", HOOK_BODY_TIMEOUT_S="0.5")
    assert (settings.hook_rate_per_minute, settings.waha_files_lifetime_s, settings.hook_body_timeout_s) == (0, 0, 0.5)


@pytest.mark.parametrize(
    ("key", "value", "url"),
    [
        ("evolution_api_key", "key", "EVOLUTION_URL"),
        ("wppconnect_token", "$2b$10$key", "WPPCONNECT_URL"),
        ("wppconnect_tokens", "shop=$2b$10$key", "WPPCONNECT_URL"),
    ],
)
def test_key_for_asking_again_needs_its_server(key: str, value: str, url: str) -> None:
    with pytest.raises(SettingsError, match=f"{url}: is missing: {key.upper()} is only sent to that server"):
        load_settings(_env_file=None, **{key: value})


def test_wppconnect_session_has_its_own_token_or_the_common_one() -> None:
    tokens = {"wppconnect_token": "$2b$10$common", "wppconnect_tokens": "shop=$2b$10$of-shop,help=$2b$10$of-help"}
    settings = load_settings(_env_file=None, wppconnect_url="http://127.0.0.1:21465", **tokens)
    assert settings.wppconnect_token_of("shop") == "$2b$10$of-shop"
    assert settings.wppconnect_token_of("another") == "$2b$10$common"


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("reupload", "always"),
        ("reupload_per_minute", "0"),
        ("reupload_concurrency", "0"),
        ("reupload_timeout_s", "nan"),
        ("evolution_url", "http://user:password@host"),
        ("wppconnect_url", "ftp://host"),
        ("evolution_api_key", "a\nkey"),
        ("wppconnect_tokens", "no pairs"),
    ],
)
def test_invalid_settings_for_asking_again_are_refused(name: str, value: str) -> None:
    urls = {"evolution_url": "http://127.0.0.1:8080", "wppconnect_url": "http://127.0.0.1:21465"}
    with pytest.raises(SettingsError, match=name.upper()):
        load_settings(_env_file=None, **{**urls, name: value})
