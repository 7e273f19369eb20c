"""Processes that tests start have default signal handlers, also if the tests run in the background."""

from __future__ import annotations

import subprocess
import sys

import pytest

CODE = "import signal, sys; print(signal.getsignal(int(sys.argv[1])) is signal.SIG_IGN)"


@pytest.mark.parametrize("number", [1, 2, 3, 15])
def test_children_do_not_ignore_signals(number: int) -> None:
    finished = subprocess.run([sys.executable, "-c", CODE, str(number)], capture_output=True, text=True, check=True)
    assert finished.stdout == "False\n"
