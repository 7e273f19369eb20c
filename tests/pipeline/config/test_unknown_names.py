"""Unknown setting names are reported; variables of other programs are not."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from pipeline.config.settings import Settings
from pipeline.config.unknown_names import unknown_names

ORDINARY = {
    *("HOME", "PATH", "LANG", "TERM", "USER", "SHELL", "PWD", "HOSTNAME", "LOGNAME", "TZ", "EDITOR", "VIRTUAL_ENV"),
    *("REDIS_TLS_URL", "REDIS_PORT_6379_TCP", "REDISCLOUD_URL", "POSTGRES_URL", "DYNO", "GITHUB_TOKEN", "NODE_ENV"),
    *("AWS_REGION", "AWS_ENDPOINT_URL", "KUBERNETES_SERVICE_PORT", "SENTRY_RELEASE", "HTTP_PROXY", "CI", "DEBUG"),
}


@pytest.fixture(autouse=True)
def _empty_environment(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    for name in list(os.environ):
        monkeypatch.delenv(name)
    monkeypatch.chdir(tmp_path)  # a directory without .env


def reported(monkeypatch: pytest.MonkeyPatch, *names: str) -> list[tuple[str, str | None]]:
    for name in names:
        monkeypatch.setenv(name, "hunter2")
    return [(unknown.name, unknown.suggestion) for unknown in unknown_names()]


@pytest.mark.parametrize(
    ("name", "suggestion"),
    [
        ("WEBHOOK_URLS", "WEBHOOK_URL"),
        ("FETCH_PER_HOSTS", "FETCH_PER_HOST"),
        ("WEB_CONCURENCY", "WEB_CONCURRENCY"),
        ("MAX_DOCUMENTS_MB", "MAX_DOCUMENT_MB"),
        ("REDIS_PASSWORD", "PASSWORD_REDIS"),
        ("metric_token", "METRICS_TOKEN"),
    ],
)
def test_misspelled_setting_is_reported_with_a_suggestion(
    monkeypatch: pytest.MonkeyPatch, name: str, suggestion: str
) -> None:
    assert reported(monkeypatch, name) == [(name.upper(), suggestion)]


def test_setting_names_are_case_insensitive(monkeypatch: pytest.MonkeyPatch) -> None:
    assert reported(monkeypatch, *Settings.model_fields, *(name.upper() for name in Settings.model_fields)) == []


def test_variables_of_other_programs_are_not_reported(monkeypatch: pytest.MonkeyPatch) -> None:
    assert reported(monkeypatch, *ORDINARY) == []


def test_unknown_names_in_the_env_file_are_reported_without_values(tmp_path: Path) -> None:
    lines = ["API_TOKEN=hunter2", "export WEBHOK_URL=hunter2", "MY_OWN=hunter2", "aws_region=x", "#WEBHOOK_URLS=", ""]
    (tmp_path / ".env").write_text("\n".join(lines))
    assert list(map(str, unknown_names())) == [
        "MY_OWN (.env) is not a setting",
        "WEBHOK_URL (.env) is not a setting: did you mean WEBHOOK_URL?",
    ]


def test_name_in_environment_and_file_is_reported_once(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    (tmp_path / ".env").write_text("WEBHOOK_URLS=x\n")
    assert reported(monkeypatch, "WEBHOOK_URLS") == [("WEBHOOK_URLS", "WEBHOOK_URL")]


def test_env_example_contains_only_known_settings() -> None:
    example = Path(__file__).parents[3] / ".env.example"
    assert unknown_names(example) == []
