"""Limits the peak memory of a block in a test."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.conftest import missing


def _peak_kib() -> int:
    match = re.search(r"VmHWM:\s+(\d+) kB", Path("/proc/self/status").read_text())
    assert match
    return int(match[1])


@contextmanager
def peak_memory_below(megabytes: float) -> Iterator[None]:
    """Fails if this process grows by more than this within the block, even for a moment."""
    try:
        Path("/proc/self/clear_refs").write_text("5")  # resets the peak, proc(5)
    except OSError:
        missing("a kernel that measures the peak of memory")
    before = _peak_kib()
    yield
    assert (_peak_kib() - before) / 1024 < megabytes
