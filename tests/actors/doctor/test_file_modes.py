"""The doctor's checks of modes and owners, on real files."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from actors.doctor import file_modes
from actors.doctor.finding import Level
from pipeline.catalogue import Catalogue
from pipeline.config.settings import Settings, load_settings


@pytest.fixture
def open_folder(tmp_path: Path) -> Path:
    """A directory that every user can enter, unlike pytest's own."""
    for folder in (tmp_path, *tmp_path.parents[:2]):
        folder.chmod(0o755)
    if not all(parent.stat().st_mode & 0o011 == 0o011 for parent in tmp_path.parents):
        pytest.skip("the directory of temporary files is private here")
    return tmp_path


@pytest.fixture
def settings(open_folder: Path, monkeypatch: pytest.MonkeyPatch) -> Settings:
    monkeypatch.chdir(open_folder)
    settings = load_settings(_env_file=None, var_dir=open_folder / "var")
    Catalogue(settings.database).migrate()
    (open_folder / ".env").touch(0o600)
    for name in ("media", "staging", "valkey"):
        (settings.var_dir / name).mkdir(0o700)
    return settings


def levels(settings: Settings) -> dict[str, Level]:
    return {finding.check: finding.level for finding in file_modes.run_checks(settings)}


def test_private_files_pass(settings: Settings) -> None:
    assert levels(settings) == {"file modes": Level.OK, "file owners": Level.OK}


@pytest.mark.parametrize("name", [".env", "var/esteira.db", "var/media", "var/staging", "var/valkey"])
@pytest.mark.parametrize(("mode", "readers"), [(0o604, "every user"), (0o640, "its group")])
def test_path_that_others_can_read_warns_with_the_command(
    settings: Settings, open_folder: Path, name: str, mode: int, readers: str
) -> None:
    settings.var_dir.chmod(0o711)
    path = open_folder / name
    path.chmod(mode)
    [finding, _] = file_modes.run_checks(settings)
    assert finding.level is Level.WARN
    assert finding.message == f"{readers} can read {path}"
    assert finding.remedy == f"chmod {'-R ' if path.is_dir() else ''}go-rwx {path}"


def test_directory_that_others_can_list_warns(settings: Settings) -> None:
    settings.var_dir.chmod(0o755)
    [finding, _] = file_modes.run_checks(settings)
    assert finding.message == f"its group and every user can read {settings.var_dir}"


def test_file_in_a_private_directory_is_not_exposed(settings: Settings) -> None:
    (settings.var_dir / "esteira.db").chmod(0o644)
    assert levels(settings)["file modes"] is Level.OK


def test_directory_that_a_group_shares_passes_with_files_of_its_users(settings: Settings) -> None:
    settings.var_dir.chmod(0o2770)
    (settings.var_dir / "esteira.db").chmod(0o660)
    for name in ("media", "staging"):
        (settings.var_dir / name).chmod(0o2770)
        if os.geteuid() == 0:
            os.chown(settings.var_dir / name, 4001, -1)
            (settings.var_dir / name).chmod(0o2770)
    assert levels(settings) == {"file modes": Level.OK, "file owners": Level.OK}
    (settings.var_dir / "esteira.db").chmod(0o664)
    settings.var_dir.chmod(0o2775)
    [finding, _] = file_modes.run_checks(settings)
    assert finding.message == f"every user can read {settings.var_dir / 'esteira.db'}, {settings.var_dir}"


def test_log_of_the_database_is_checked(settings: Settings) -> None:
    settings.var_dir.chmod(0o711)
    log = settings.var_dir / "esteira.db-wal"
    log.touch(0o600)
    log.chmod(0o644)
    assert levels(settings)["file modes"] is Level.WARN


def test_missing_files_are_left_out(open_folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(open_folder)
    settings = load_settings(_env_file=None, var_dir=open_folder / "none", redis_host="redis.example")
    assert levels(settings) == {"file modes": Level.OK, "file owners": Level.OK}


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give files to other users")
def test_files_of_two_users_warn(settings: Settings) -> None:
    os.chown(settings.var_dir / "esteira.db", 12345, -1)
    assert levels(settings)["file owners"] is Level.OK
    os.chown(settings.var_dir / "media", 23456, -1)
    [finding] = [found for found in file_modes.run_checks(settings) if found.check == "file owners"]
    assert finding.level is Level.WARN
    assert "23456" in finding.message
    assert finding.remedy.startswith("chown -R 12345 ")
