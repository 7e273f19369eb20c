"""Sentry in a process of ours: what it adds to child processes."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[3]
PROGRAM = """
import json, os, subprocess, sys
from actors.observability import sentry
from pipeline.sandbox import Sandbox
sentry.init("http://0123456789abcdef@127.0.0.1:9/1", lambda event: event)
box = Sandbox(processes=1, memory_mb=200, cpu_s=5, wall_s=20)
seen = box.call("tests.support.hostile_decoders:environment")
box.close()
print(json.dumps({"sandbox": seen, "program": subprocess.check_output(["/usr/bin/env"], env={}, text=True)}))
"""


def test_the_key_of_the_dsn_reaches_no_child_process() -> None:
    command = [sys.executable, "-c", PROGRAM]
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    finished = subprocess.run(command, env=environment, cwd=ROOT, capture_output=True, text=True, check=True)
    seen = json.loads(finished.stdout)
    assert set(seen["sandbox"]) <= {"LC_CTYPE", "LD_LIBRARY_PATH"}
    assert seen["program"] == ""
