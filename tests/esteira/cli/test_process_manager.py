"""Parts side by side: all are stopped together, and the one that ended first is reported."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

RUN = """
import json, os, sys
from esteira.cli.process_manager import run_parts
print("ended:", run_parts(json.loads(sys.argv[1]), environment=os.environ), flush=True)
"""


def shell(script: str) -> list[str]:
    return ["/bin/sh", "-c", script]


def run_in_process(commands: dict[str, list[str]]) -> subprocess.Popen[str]:
    return subprocess.Popen([sys.executable, "-c", RUN, json.dumps(commands)], stdout=subprocess.PIPE, text=True)


def test_ended_part_is_reported_and_the_others_are_stopped() -> None:
    process = run_in_process({"steady": ["sleep", "60"], "brief": shell("echo working; exit 3")})
    out, _ = process.communicate(timeout=20)
    assert "brief" in out
    assert "| working" in out
    assert "ended: brief (exit status 3)" in out
    assert "steady stopped" in out


def test_part_that_ends_with_status_0_is_reported_too() -> None:
    process = run_in_process({"steady": ["sleep", "60"], "brief": ["true"]})
    out, _ = process.communicate(timeout=20)
    assert "ended: brief (exit status 0)" in out


def test_signal_lets_every_part_finish(tmp_path: Path) -> None:
    marker = tmp_path / "finished"
    script = f"trap 'sleep 0.5; touch {marker}; exit 0' TERM; echo ready; while :; do sleep 0.05; done"
    process = run_in_process({"careful": shell(script)})
    assert process.stdout
    while "ready" not in process.stdout.readline():
        pass
    started = time.monotonic()
    os.kill(process.pid, signal.SIGINT)
    out, _ = process.communicate(timeout=20)
    assert marker.exists()
    assert "ended: None" in out
    assert time.monotonic() - started < 10


SIGNAL_DURING_START = """
import os, signal
import honcho.manager
from esteira.cli.process_manager import run_parts

start = honcho.manager.Manager._start
def start_and_end(manager):
    start(manager)
    os.kill(os.getpid(), signal.SIGTERM)  # before honcho knows any process ID

honcho.manager.Manager._start = start_and_end
print("ended:", run_parts({"a": ["sleep", "60"], "b": ["sleep", "60"]}, environment=os.environ), flush=True)
"""


def test_signal_during_the_start_stops_all_parts() -> None:
    finished = subprocess.run(
        [sys.executable, "-c", SIGNAL_DURING_START], capture_output=True, text=True, timeout=20, check=False
    )
    assert (finished.returncode, finished.stderr) == (0, "")
    assert "ended: None" in finished.stdout


SIGNAL_DURING_WRITE = """
import signal, sys
from esteira.cli.process_manager import DirectOutput
out = DirectOutput()
signal.signal(signal.SIGALRM, lambda *_: print("from the handler", file=out, flush=True))
signal.setitimer(signal.ITIMER_REAL, 0.3)
for _ in range(20_000):
    print("x" * 50, file=out, flush=True)
print("whole", file=out, flush=True)
"""


def test_signal_handler_can_print_during_a_write() -> None:
    process = subprocess.Popen([sys.executable, "-c", SIGNAL_DURING_WRITE], stdout=subprocess.PIPE, text=True)
    time.sleep(1)  # nothing reads the pipe: it is full and the write blocks
    out, _ = process.communicate(timeout=20)
    assert process.returncode == 0
    assert "from the handler" in out
    assert out.endswith("whole\n")
