"""An interrupted scripts/chaos leaves no processes and no files."""

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


def commands_with_tmpdir(folder: Path) -> list[str]:
    """Returns the commands of all processes with this TMPDIR."""
    commands = []
    for process in psutil.process_iter():
        try:
            if process.environ().get("TMPDIR") == str(folder):
                commands.append(" ".join(process.cmdline()))
        except psutil.Error:  # ended meanwhile, or belongs to another user
            continue
    return commands


def test_ctrl_c_ends_parallel_runs_and_all_their_processes() -> None:
    with TemporaryDirectory(prefix="chaos-") as name:  # short enough for the path of a Unix socket
        folder, output_file = Path(name), Path(name, "output")
        command = [sys.executable, "-m", "scripts.faults", "F00", "F00", "--at-once", "2"]
        env = {**os.environ, "TMPDIR": name}
        with output_file.open("wb") as out:
            process = subprocess.Popen(command, cwd=ROOT, env=env, stdout=out, stderr=out, start_new_session=True)

        def everything_runs() -> bool:
            assert process.poll() is None, output_file.read_text()
            return sum("esteira.cli.supervisor.parent_guard" in part for part in commands_with_tmpdir(folder)) >= 6

        wait_until(everything_runs, within_s=150, every_s=0.5)
        os.killpg(process.pid, signal.SIGINT)  # to the whole group, as a terminal sends it
        assert process.wait(60) != 0
        wait_until(lambda: not commands_with_tmpdir(folder), within_s=15, every_s=0.5)
        assert [path.name for path in folder.iterdir()] == ["output"]
