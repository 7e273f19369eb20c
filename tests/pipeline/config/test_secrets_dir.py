"""Settings from the files of /run/secrets."""

from __future__ import annotations

from pathlib import Path

import pytest

from pipeline.config import settings
from pipeline.config.settings import Settings, load_settings
from pipeline.errors import SettingsError

TOKEN = "a token of sixteen or more characters"


@pytest.fixture
def secrets(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """The folder of secrets, without other settings."""
    for name in Settings.model_fields:
        monkeypatch.delenv(name.upper(), raising=False)
    monkeypatch.chdir(tmp_path)
    folder = tmp_path / "secrets"
    folder.mkdir()
    (folder / "kubernetes.io").mkdir()
    monkeypatch.setattr(settings, "SECRETS_DIR", folder)
    return folder


@pytest.mark.parametrize("name", ["api_token", "API_TOKEN"])
def test_load_settings_reads_a_secret_without_its_line_end(secrets: Path, name: str) -> None:
    (secrets / name).write_text(f"{TOKEN}\n")
    (secrets / "session_weights").write_text("vip=4\n")
    loaded = load_settings()
    assert loaded.api_token is not None
    assert loaded.api_token.get_secret_value() == TOKEN
    assert loaded.session_weights == {"vip": 4}
    assert TOKEN in loaded.secrets()


def test_load_settings_prefers_the_environment_and_env_files(
    secrets: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    (secrets / "port").write_text("1")
    (secrets / "web_workers").write_text("2")
    (tmp_path / ".env").write_text("WEB_WORKERS=3\n")
    monkeypatch.setenv("PORT", "4")
    assert (load_settings().port, load_settings().web_workers) == (4, 3)


def test_load_settings_names_a_wrong_secret_without_its_value(secrets: Path) -> None:
    (secrets / "api_token").write_text("tiny-secret")
    with pytest.raises(SettingsError, match=r"API_TOKEN: is too short") as caught:
        load_settings()
    assert "tiny" not in str(caught.value)


def test_load_settings_names_a_secret_that_cannot_be_read(secrets: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As in Compose, where a secret has the owner and the mode of its file on the host."""
    (secrets / "api_token").write_text(TOKEN)

    def refused(path: Path, *_: object, **__: object) -> str:
        raise PermissionError(13, "Permission denied", str(path))

    monkeypatch.setattr(Path, "read_text", refused)  # root can read every file
    with pytest.raises(SettingsError, match=r"cannot read .*/secrets/api_token: Permission denied"):
        load_settings()


def test_load_settings_refuses_files_that_are_no_text(secrets: Path, tmp_path: Path) -> None:
    (tmp_path / "wrong").write_bytes(b"API_TOKEN=\xff\n")
    for where in ({"_env_file": tmp_path / "wrong"}, {"_env_file": None}):
        with pytest.raises(SettingsError, match="is not UTF-8 text"):
            load_settings(**where)
        (secrets / "api_token").write_bytes(b"\xff" * 20)
