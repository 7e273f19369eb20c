"""The default number of worker processes, from the CPU count and the limit of the control group."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from pipeline.config.cpu_count import available_cpus, worker_processes
from pipeline.config.settings import load_settings


@pytest.fixture
def _sixteen_cpus(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: set(range(16)))


@pytest.mark.usefixtures("_sixteen_cpus")
@pytest.mark.parametrize(
    ("limit", "cpus"),
    [("max 100000\n", 16), ("200000 100000\n", 2), ("250000 100000\n", 3), ("50000 100000\n", 1), ("nonsense", 16)],
)
def test_available_cpus_follow_the_limit_of_the_control_group(tmp_path: Path, limit: str, cpus: int) -> None:
    (tmp_path / "cpu.max").write_text(limit)
    assert available_cpus(tmp_path) == cpus


@pytest.mark.usefixtures("_sixteen_cpus")
def test_available_cpus_without_control_groups_are_all_cores(tmp_path: Path) -> None:
    assert available_cpus(tmp_path / "none") == 16


def test_worker_processes_are_at_least_two(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: {0})
    assert worker_processes() == 2
    assert load_settings(_env_file=None).web_concurrency == 2


def test_module_prints_the_default_of_web_concurrency() -> None:
    completed = subprocess.run(
        [sys.executable, "-m", "pipeline.config.cpu_count"], check=True, capture_output=True, text=True
    )
    assert int(completed.stdout) == load_settings(_env_file=None).web_concurrency
