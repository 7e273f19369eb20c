"""Checks of `esteira doctor` on the intake spool."""

from __future__ import annotations

import os
import time
from pathlib import Path

import pytest

from actors.doctor.finding import Finding, Level
from actors.doctor.intake_spool import run_checks
from pipeline.config.settings import Settings, load_settings
from pipeline.intake_spool import open_spool
from tests.support.catalogues import attachment


def findings(settings: Settings) -> dict[str, Finding]:
    return {finding.check: finding for finding in run_checks(settings)}


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    return load_settings(_env_file=None, var_dir=tmp_path, intake_spool_mb=0.02)


def add(settings: Settings, count: int = 1) -> None:
    spool = open_spool(settings)
    assert spool
    for _ in range(count):
        spool.add(attachment())


def test_empty_spool_passes_and_is_not_created(settings: Settings, tmp_path: Path) -> None:
    found = findings(settings)
    assert {finding.level for finding in found.values()} == {Level.OK}
    assert found["intake spool entries"].message == "nothing waits"
    assert not (tmp_path / "spool").exists()


def test_spool_that_is_off_says_what_follows() -> None:
    [finding] = run_checks(load_settings(_env_file=None, intake_spool="off"))
    assert "answer 503" in finding.message


def test_folder_that_cannot_be_used_fails(settings: Settings, tmp_path: Path) -> None:
    (tmp_path / "spool").write_text("")
    finding = findings(settings)["intake spool"]
    assert finding.level is Level.FAIL
    assert f"{tmp_path / 'spool'} is not a directory" in finding.message


def test_waiting_and_full_and_damaged_entries_are_reported(settings: Settings, tmp_path: Path) -> None:
    add(settings)
    assert findings(settings)["intake spool entries"] == ("intake spool entries", Level.OK, "1 waiting, 0.0 MB", "")
    add(settings, 3)
    assert "almost full" in findings(settings)["intake spool entries"].message
    [*_, last] = sorted((tmp_path / "spool").glob("*.json"))
    (tmp_path / "spool" / "damaged").mkdir()
    last.rename(tmp_path / "spool" / "damaged" / last.name)
    finding = findings(settings)["intake spool entries"]
    assert (finding.level, finding.message[:9]) == (Level.WARN, "1 damaged")


def test_entry_that_waits_for_long_names_what_hands_it_over(settings: Settings, tmp_path: Path) -> None:
    add(settings)
    [entry] = (tmp_path / "spool").glob("*.json")
    sequence, _, rest = entry.name.partition("-")
    entry.rename(entry.with_name(f"{int(sequence) - 120_000_000:016d}-{rest}"))
    finding = findings(settings)["intake spool entries"]
    assert finding.level is Level.WARN
    assert "the oldest for 12" in finding.message
    assert "esteira sweep" in finding.remedy


def test_spool_in_memory_is_a_warning(settings: Settings) -> None:
    in_memory = Path(f"/dev/shm/esteira-{os.getpid()}-{time.time_ns()}")
    if not in_memory.parent.is_dir():
        pytest.skip("no /dev/shm")
    finding = findings(settings.model_copy(update={"intake_spool": str(in_memory)}))["intake spool"]
    assert finding.level is Level.WARN
    assert "tmpfs" in finding.message
