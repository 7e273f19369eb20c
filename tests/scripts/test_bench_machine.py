"""Tests for the programs that scripts/bench starts: their figures, and their end."""

from __future__ import annotations

import os
import sys
import time
from pathlib import Path

import psutil
import pytest

from scripts.benchmarks.machine import (
    BenchmarkError,
    cpu_s,
    memory_mb,
    run_command,
    running_program,
    session_processes,
    threads_cpu_ns,
    wait_for,
)

BURN = "import time\nwhile time.process_time() < {}: pass\n"
SLOW_END = """
import pathlib, signal, sys, time
def end(*_):
    time.sleep(0.5)
    pathlib.Path(sys.argv[1]).write_text("ended in order")
    sys.exit()
signal.signal(signal.SIGTERM, end)
pathlib.Path(sys.argv[2]).touch()
time.sleep(60)
"""


def test_running_program_waits_for_the_children_of_a_shell(tmp_path: Path) -> None:
    ended, ready = tmp_path / "ended", tmp_path / "ready"
    (tmp_path / "slow.py").write_text(SLOW_END)
    line = f'"{sys.executable}" "{tmp_path}/slow.py" "{ended}" "{ready}"; true'
    with running_program(["/bin/sh", "-c", line], tmp_path / "log", env=os.environ, cwd=tmp_path) as program:
        wait_for("ready", ready.exists, within_s=30)
        started = session_processes(program.session_ids)
        assert len(started) == 2
    assert ended.read_text() == "ended in order"
    left = session_processes(program.session_ids)
    assert [p for p in left if p in started and p.status() != psutil.STATUS_ZOMBIE] == []


def test_ended_program_reports_its_exit_status_and_processor_time(tmp_path: Path) -> None:
    line = f"\"{sys.executable}\" -c '{BURN.format(0.3)}'; echo done; exit 3"
    with running_program(["/bin/sh", "-c", line], tmp_path / "log", env=os.environ, cwd=tmp_path) as program:
        wait_for("end", lambda: program.exit_status() is not None, within_s=30)
        assert program.exit_status() == 3
        assert 0.2 <= cpu_s(program.session_ids) < 5  # of a child that the shell has reaped
        assert program.log_tail() == "done"


def test_threads_cpu_ns_measures_less_than_a_tick(tmp_path: Path) -> None:
    (tmp_path / "burn.py").write_text(BURN.format(0.2) + "time.sleep(60)\n")
    with running_program([sys.executable, "burn.py"], tmp_path / "log", env=os.environ, cwd=tmp_path) as program:
        wait_for("0.2 s of work", lambda: threads_cpu_ns(program.session_ids) >= 200_000_000, within_s=30)
        time.sleep(0.2)
        [pid] = program.session_ids
        assert threads_cpu_ns(program.session_ids, without={pid}) == 0
        rss, pss = memory_mb(program.session_ids)
        assert 5 < rss < 500
        assert 0 < pss <= rss


def test_run_command_raises_with_status_and_output(tmp_path: Path) -> None:
    assert run_command(["/bin/echo", "well"], env=os.environ, cwd=tmp_path) == "well\n"
    with pytest.raises(BenchmarkError, match="ended with 7\noh no"):
        run_command(["/bin/sh", "-c", "echo oh no; exit 7"], env=os.environ, cwd=tmp_path)
    with pytest.raises(BenchmarkError, match="did not end within"):
        run_command(["/bin/sleep", "60"], env=os.environ, cwd=tmp_path, within_s=0.1)
