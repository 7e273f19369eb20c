"""The default number of worker processes."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from pipeline.config.cpu_count import available_cpus, worker_processes
from pipeline.config.settings import load_settings


@pytest.fixture
def _sixteen(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: set(range(16)))


@pytest.mark.usefixtures("_sixteen")
@pytest.mark.parametrize(
    ("limit", "found"),
    [("max 100000\n", 16), ("200000 100000\n", 2), ("250000 100000\n", 3), ("50000 100000\n", 1), ("nonsense", 16)],
)
def test_a_container_s_limit_counts_before_the_machine_s_cores(tmp_path: Path, limit: str, found: int) -> None:
    (tmp_path / "cpu.max").write_text(limit)
    assert available_cpus(tmp_path) == found


@pytest.mark.usefixtures("_sixteen")
def test_without_control_groups_all_cores_count(tmp_path: Path) -> None:
    assert available_cpus(tmp_path / "none") == 16


def test_there_are_two_worker_processes_at_least(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: {0})
    assert worker_processes() == 2
    assert load_settings(_env_file=None).web_concurrency == 2


def test_the_procfile_starts_as_many_as_the_settings_say() -> None:
    told = subprocess.run(
        [sys.executable, "-m", "pipeline.config.cpu_count"], check=True, capture_output=True, text=True
    )
    assert int(told.stdout) == load_settings(_env_file=None).web_concurrency
