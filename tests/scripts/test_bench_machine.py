"""How scripts/bench starts programs, what it reads of them, and that it leaves none of them behind."""

from __future__ import annotations

import os
import sys
import time
from pathlib import Path

import pytest

from scripts.benchmarks.machine import Trouble, call, cpu_s, family, memory_mb, run_ns, running, wait_for

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


def test_what_a_shell_has_started_is_waited_for_when_it_is_told_to_end(tmp_path: Path) -> None:
    ended, ready = tmp_path / "ended", tmp_path / "ready"
    (tmp_path / "slow.py").write_text(SLOW_END)
    line = f'"{sys.executable}" "{tmp_path}/slow.py" "{ended}" "{ready}"; true'
    with running(["/bin/sh", "-c", line], tmp_path / "log", env=os.environ, cwd=tmp_path) as program:
        wait_for("ready", ready.exists, within_s=30)
        started = family(program.leaders)
        assert len(started) == 2
    assert ended.read_text() == "ended in order"
    left = family(program.leaders)
    assert [stat for pid, stat in left.items() if pid in started and stat[0] != "Z"] == []  # whom init has not buried


def test_a_program_that_has_ended_says_how_and_keeps_its_processor_time(tmp_path: Path) -> None:
    line = f"\"{sys.executable}\" -c '{BURN.format(0.3)}'; echo done; exit 3"
    with running(["/bin/sh", "-c", line], tmp_path / "log", env=os.environ, cwd=tmp_path) as program:
        wait_for("end", lambda: program.ended() is not None, within_s=30)
        assert program.ended() == 3
        assert 0.2 <= cpu_s(program.leaders) < 5  # of a child that the shell has buried
        assert program.said() == "done"


def test_the_time_of_threads_is_told_to_less_than_a_tick(tmp_path: Path) -> None:
    (tmp_path / "burn.py").write_text(BURN.format(0.2) + "time.sleep(60)\n")
    with running([sys.executable, "burn.py"], tmp_path / "log", env=os.environ, cwd=tmp_path) as program:
        wait_for("0.2 s of work", lambda: run_ns(program.leaders) >= 200_000_000, within_s=30)
        time.sleep(0.2)
        [pid] = program.leaders
        assert run_ns(program.leaders, without={pid}) == 0
        rss, pss = memory_mb(program.leaders)
        assert 5 < rss < 500
        assert 0 < pss <= rss


def test_a_command_that_fails_says_what_it_said(tmp_path: Path) -> None:
    assert call(["/bin/echo", "well"], env=os.environ, cwd=tmp_path) == "well\n"
    with pytest.raises(Trouble, match="ended with 7\noh no"):
        call(["/bin/sh", "-c", "echo oh no; exit 7"], env=os.environ, cwd=tmp_path)
    with pytest.raises(Trouble, match="did not end within"):
        call(["/bin/sleep", "60"], env=os.environ, cwd=tmp_path, within_s=0.1)
