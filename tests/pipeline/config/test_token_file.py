"""The API_TOKEN that is kept in VAR_DIR."""

from __future__ import annotations

import os
import stat
from pathlib import Path

import pytest

from pipeline.config.settings import load_settings, uses_token_file
from pipeline.config.token_file import make_token, read_token, token_path
from pipeline.errors import SettingsError


def test_token_is_made_once_and_only_for_its_owner(tmp_path: Path) -> None:
    before = os.umask(0)
    try:
        make_token(tmp_path)
    finally:
        os.umask(before)
    token = read_token(tmp_path)
    assert token is not None
    assert len(token) == 64
    assert stat.S_IMODE(token_path(tmp_path).stat().st_mode) == 0o600
    make_token(tmp_path)
    assert read_token(tmp_path) == token
    assert list(tmp_path.iterdir()) == [token_path(tmp_path)]


def test_settings_use_the_kept_token_unless_api_token_is_set(tmp_path: Path) -> None:
    assert load_settings(_env_file=None, var_dir=tmp_path).api_token is None
    make_token(tmp_path)
    kept = load_settings(_env_file=None, var_dir=tmp_path)
    assert kept.api_token is not None
    assert kept.api_token.get_secret_value() == read_token(tmp_path)
    assert kept.api_token.get_secret_value() in kept.secrets()
    assert uses_token_file(kept)
    own = load_settings(_env_file=None, var_dir=tmp_path, api_token="a token of the operator")
    assert own.api_token is not None
    assert own.api_token.get_secret_value() == "a token of the operator"
    assert not uses_token_file(own)


@pytest.mark.parametrize("mode", [0o604, 0o640, 0o660, 0o644])
def test_token_that_others_may_use_is_refused(tmp_path: Path, mode: int) -> None:
    make_token(tmp_path)
    token_path(tmp_path).chmod(mode)
    with pytest.raises(SettingsError, match="others may use") as caught:
        load_settings(_env_file=None, var_dir=tmp_path)
    assert token_path(tmp_path).read_text().strip() not in str(caught.value)


@pytest.mark.parametrize("content", ["", "\n", "short"])
def test_empty_or_short_token_is_refused_with_the_name_of_the_setting(tmp_path: Path, content: str) -> None:
    path = token_path(tmp_path)
    path.touch(0o600)
    path.write_text(content)
    with pytest.raises(SettingsError, match="API_TOKEN"):
        load_settings(_env_file=None, var_dir=tmp_path)


def test_link_and_pipe_are_not_read(tmp_path: Path) -> None:
    other = tmp_path / "other"
    other.touch(0o600)
    other.write_text("a token of another person")
    token_path(tmp_path).symlink_to(other)
    assert read_token(tmp_path) is None
    token_path(tmp_path).unlink()
    os.mkfifo(token_path(tmp_path), 0o600)
    with pytest.raises(SettingsError):
        read_token(tmp_path)


def test_folder_that_cannot_be_written_is_named(tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match="VAR_DIR: cannot write"):
        make_token(tmp_path / "missing")
