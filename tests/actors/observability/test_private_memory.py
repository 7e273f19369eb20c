"""Processes that hold secrets hide their memory from other processes of the same user."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[3]
PROGRAM = """
import ctypes
from actors.observability.logging import configure_observability
from pipeline.config.settings import load_settings
configure_observability(load_settings(_env_file=None))
print(ctypes.CDLL(None).prctl(3, 0, 0, 0, 0))  # PR_GET_DUMPABLE
"""


@pytest.mark.parametrize(("allow_debuggers", "dumpable"), [("false", "0"), ("true", "1")])
def test_a_process_of_ours_is_not_readable_unless_debuggers_are_allowed(allow_debuggers: str, dumpable: str) -> None:
    environment = {**os.environ, "ALLOW_DEBUGGERS": allow_debuggers}
    finished = subprocess.run(
        [sys.executable, "-c", PROGRAM], cwd=ROOT, env=environment, capture_output=True, text=True, check=True
    )
    assert finished.stdout.strip() == dumpable
