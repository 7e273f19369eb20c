"""Tests for the help texts of the scripts on a terminal of 80 columns."""

from __future__ import annotations

import os
import subprocess
import sys
from itertools import pairwise

import pytest

from tests.support.system import ROOT


@pytest.mark.parametrize("module", ["scripts.benchmarks", "scripts.faults"])
def test_help_shows_each_example_on_its_own_line(module: str) -> None:
    command = [sys.executable, "-m", module, "--help"]
    narrow = os.environ | {"COLUMNS": "80"}
    shown = subprocess.run(command, cwd=ROOT, env=narrow, capture_output=True, text=True, check=True).stdout
    lines = [line.strip() for line in shown.splitlines()]
    after = [following for line, following in pairwise(lines) if line.startswith("scripts/")]
    assert len(after) >= 5
    assert [line for line in after if line and not line.startswith("scripts/")] == []
