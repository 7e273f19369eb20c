"""Whoever interrupts scripts/chaos finds nothing of it afterwards."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path
from tempfile import TemporaryDirectory

import psutil

from tests.support.waiting import wait_until

ROOT = Path(__file__).parents[2]


def belonging_to(folder: Path) -> list[str]:
    """The commands of the processes whose temporary folder is this one."""
    found = []
    for process in psutil.process_iter():
        try:
            if process.environ().get("TMPDIR") == str(folder):
                found.append(" ".join(process.cmdline()))
        except psutil.Error:  # it ended meanwhile, or is not ours
            continue
    return found


def test_ctrl_c_ends_runs_side_by_side_with_all_that_they_started() -> None:
    with TemporaryDirectory(prefix="chaos-") as name:  # short enough for the path of a unix socket in it
        folder, log_lines = Path(name), Path(name, "said")
        command = [sys.executable, "-m", "scripts.faults", "F00", "F00", "--at-once", "2"]
        env = {**os.environ, "TMPDIR": name}
        with log_lines.open("wb") as out:
            process = subprocess.Popen(command, cwd=ROOT, env=env, stdout=out, stderr=out, start_new_session=True)

        def everything_runs() -> bool:
            assert process.poll() is None, log_lines.read_text()
            return sum("esteira.cli.parent_guard" in part for part in belonging_to(folder)) >= 6

        wait_until(everything_runs, within_s=150, every_s=0.5)
        os.killpg(process.pid, signal.SIGINT)  # to the whole group, as a terminal sends it
        assert process.wait(60) != 0
        wait_until(lambda: not belonging_to(folder), within_s=15, every_s=0.5)
        assert [path.name for path in folder.iterdir()] == ["said"]
