"""The embedded Valkey: its data survives a restart, and its folder is locked."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
import redis

from esteira.cli.embedded_valkey import MAX_SOCKET_PATH, embedded_valkey, lock_folder
from pipeline.config.settings import Settings, load_settings
from pipeline.errors import PermanentError, SettingsError
from tests.support.disks import fill_disk, small_disk
from tests.support.waiting import wait_until


@pytest.fixture
def settings(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Settings:
    monkeypatch.chdir(tmp_path)
    return load_settings(var_dir=tmp_path / "var", redis_url=None, redis_host=None)


def test_data_survives_a_restart(settings: Settings) -> None:
    with embedded_valkey(settings):
        client = redis.Redis.from_url(settings.redis)
        client.set("kept", "1")
        assert client.config_get("appendonly")["appendonly"] == "yes"
        assert client.config_get("maxmemory-policy")["maxmemory-policy"] == "noeviction"
    with pytest.raises(redis.ConnectionError):
        redis.Redis.from_url(settings.redis).ping()
    with embedded_valkey(settings):
        assert redis.Redis.from_url(settings.redis).get("kept") == b"1"


def test_socket_is_accessible_to_its_user_only(settings: Settings) -> None:
    with embedded_valkey(settings):
        assert settings.embedded_socket.stat().st_mode & 0o077 == 0
        assert redis.Redis.from_url(settings.redis).config_get("port")["port"] == "0"


def test_folder_is_accessible_to_its_user_only(settings: Settings) -> None:
    with lock_folder(settings.var_dir):
        assert settings.var_dir.stat().st_mode & 0o777 == 0o700


def test_too_long_socket_path_is_reported_with_remedy(tmp_path: Path) -> None:
    deep = load_settings(var_dir=tmp_path / ("x" * MAX_SOCKET_PATH), redis_url=None, redis_host=None)
    with pytest.raises(SettingsError, match=r"VAR_DIR: .* choose a shorter VAR_DIR"), embedded_valkey(deep):
        pass


def test_failed_start_is_reported_with_the_log(settings: Settings) -> None:
    folder = settings.embedded_socket.parent / "valkey"
    (folder / "appendonlydir").mkdir(parents=True)
    (folder / "appendonlydir" / "appendonly.aof.manifest").write_text("garbage\n")
    with pytest.raises(PermanentError, match=r"did not start; see .*valkey\.log"), embedded_valkey(settings):
        pass


def test_valkey_ends_when_its_parent_is_killed(settings: Settings) -> None:
    code = (
        "import sys, time; from pathlib import Path; from esteira.cli.embedded_valkey import embedded_valkey; "
        "from pipeline.config.settings import load_settings\n"
        "with embedded_valkey(load_settings(var_dir=Path(sys.argv[1]))) as valkey:\n"
        "    print(valkey.pid, flush=True); time.sleep(60)"
    )
    parent = subprocess.Popen([sys.executable, "-c", code, str(settings.var_dir)], stdout=subprocess.PIPE, text=True)
    assert parent.stdout
    pid = int(parent.stdout.readline())
    parent.kill()
    parent.wait()
    wait_until(lambda: not Path(f"/proc/{pid}").exists() or "Z" in Path(f"/proc/{pid}/stat").read_text().split()[2])


def test_locked_folder_is_reported_with_its_holder(tmp_path: Path) -> None:
    with (
        lock_folder(tmp_path),
        pytest.raises(PermanentError, match=rf"in use by another .* \(process {os.getpid()}\)"),
        lock_folder(tmp_path),
    ):
        pass


def test_unwritable_folder_is_reported_with_remedy(tmp_path: Path) -> None:
    (tmp_path / "start.lock").mkdir()  # a mode would not stop root
    with pytest.raises(SettingsError, match=rf"VAR_DIR: cannot write to {tmp_path}: "), lock_folder(tmp_path):
        pass


def test_full_disk_is_reported_with_remedy(tmp_path: Path) -> None:
    with small_disk(tmp_path / "disk", megabytes=1) as disk:
        fill_disk(disk)
        with pytest.raises(SettingsError, match=r"VAR_DIR: cannot write to .*; free space"), lock_folder(disk):
            pass


def test_lock_is_released_afterwards(tmp_path: Path) -> None:
    for _ in range(2):
        with lock_folder(tmp_path):
            pass
