"""What `esteira start` says about a machine that lacks something, before it starts anything."""

from __future__ import annotations

import resource
from pathlib import Path

import pytest

from esteira.cli import machine
from esteira.cli.supervisor.supervisor import memory_hint
from pipeline.config.memory_limit import needed_mb
from pipeline.config.settings import load_settings
from pipeline.errors import SettingsError
from pipeline.media_types import libraries
from pipeline.media_types.libraries import library_fault
from tests.support.esteira import new_installation


def checked_limits() -> tuple[str, list[str]]:
    """What becomes of a start with two worker processes, and the messages: "refused", "warned" or ""."""
    warnings: list[str] = []
    try:
        machine.check_limits(2, warnings.append)
    except SettingsError as error:
        return "refused", [error.message]
    return "warned" if warnings else "", warnings


@pytest.mark.parametrize(("limit", "level"), [(64, "refused"), (needed_mb(2) - 1, "warned"), (needed_mb(2), "")])
def test_memory_limit_is_refused_or_named(monkeypatch: pytest.MonkeyPatch, limit: int, level: str) -> None:
    monkeypatch.setattr(machine, "memory_limit_mb", lambda: limit)
    found, texts = checked_limits()
    assert found == level
    assert all(f"limited to {limit} MB" in text and "raise the limit" in text for text in texts)


@pytest.mark.parametrize(("limit", "level"), [(268, "refused"), (1099, "refused"), (1400, "warned"), (1500, "")])
def test_address_space_is_refused_or_named(monkeypatch: pytest.MonkeyPatch, limit: int, level: str) -> None:
    monkeypatch.setattr(machine, "address_space_mb", lambda: limit)
    monkeypatch.setattr(machine, "memory_limit_mb", lambda: None)
    found, texts = checked_limits()
    assert found == level
    assert all(f"limited to {limit} MB (ulimit -v)" in text and "raise the limit" in text for text in texts)


def test_few_open_files_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(resource, "getrlimit", lambda _: (24, 24))
    with pytest.raises(SettingsError, match="only 24 files may be open at once: `ulimit -n 1024`"):
        machine.check_limits(1, str)


@pytest.mark.parametrize("setting", ["STAGING_DIR", "STORAGE_URL", "VAR_DIR", "DATABASE_URL"])
def test_folder_that_cannot_be_written_is_named_with_its_setting(tmp_path: Path, setting: str) -> None:
    values = {"VAR_DIR": str(tmp_path / "var"), setting: "/proc/x"}
    forms = {"STORAGE_URL": "file:///proc/x", "DATABASE_URL": "sqlite:////proc/x/esteira.db"}
    values = {name.lower(): forms.get(name, value) for name, value in values.items()}
    with pytest.raises(SettingsError, match=f"{setting}: cannot write to /proc/x: "):
        machine.check_folders(load_settings(_env_file=None, **values))


def test_library_that_cannot_be_loaded_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert library_fault() is None
    reason = "libmagic.so.1: cannot open shared object file: No such file or directory"
    (tmp_path / "brokenmodule.py").write_text(f"raise OSError({reason!r})\n")
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    fault = library_fault(("json", "brokenmodule"))
    assert fault == f"the decoder brokenmodule cannot be loaded (OSError: {reason}): {libraries.REMEDY}"


@pytest.mark.parametrize(("status", "hinted"), [(-9, True), (137, True), (-15, False), (1, False), (0, False)])
def test_kill_hints_at_memory(status: int, hinted: bool) -> None:
    assert ("memory" in memory_hint(status)) == hinted


@pytest.mark.parametrize("limit_mb", [64, 80, 300])
def test_start_in_a_small_address_space_is_one_line(limit_mb: int) -> None:
    with new_installation() as installation:
        code = (
            f"import os, resource, sys; resource.setrlimit(resource.RLIMIT_AS, ({limit_mb} << 20, {limit_mb} << 20));"
        )
        code += "os.execv(sys.argv[1], ['esteira', 'start'])"
        finished = installation.python(code, str(Path(__import__("sys").executable).parent / "esteira"))
    assert finished.code in {1, 2}
    [line] = finished.err.splitlines()
    assert line.startswith("esteira: ")
    assert "memory" in line or "address space" in line
