"""Waits for a condition in a test."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any


def wait_until(condition: Callable[[], Any], within_s: float = 30, *, every_s: float = 0.02) -> Any:
    """Returns the first true value of `condition()`; fails the test if there is none within `within_s` seconds."""
    deadline = time.monotonic() + within_s
    while not (value := condition()):
        assert time.monotonic() < deadline, f"the condition did not become true within {within_s} s"
        time.sleep(every_s)
    return value
