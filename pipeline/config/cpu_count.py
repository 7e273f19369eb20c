"""How many processors this process may use. As a command it prints what the Procfile's worker line starts with."""

from __future__ import annotations

import os
from contextlib import suppress
from pathlib import Path

CGROUP = Path("/sys/fs/cgroup")


def available_cpus(cgroup: Path = CGROUP) -> int:
    """Those that the scheduler lets us on, or what a container's limit comes to, rounded up; one at least."""
    allowed = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return max(1, min(allowed, _limit(cgroup) or allowed))


def worker_processes() -> int:
    """WEB_CONCURRENCY where it is not set: one for each core, and two at least, so that one goes on when one ends."""
    return max(2, available_cpus())


def _limit(cgroup: Path) -> int | None:
    """The limit of this control group in whole cores (Linux, Documentation/admin-guide/cgroup-v2.rst: cpu.max)."""
    with suppress(OSError, ValueError):
        most, period = (cgroup / "cpu.max").read_text().split()
        return -(-int(most) // int(period))
    return None


if __name__ == "__main__":
    print(worker_processes())  # noqa: T201  the answer to the shell
