"""The number of CPUs that this process may use. As a command, prints the default of WEB_CONCURRENCY."""

from __future__ import annotations

import os
from contextlib import suppress
from pathlib import Path

CGROUP = Path("/sys/fs/cgroup")


def available_cpus(cgroup: Path = CGROUP) -> int:
    """The CPUs of this process's affinity, or the CPU limit of its container, rounded up; at least one."""
    allowed = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return max(1, min(allowed, _limit(cgroup) or allowed))


def worker_processes() -> int:
    """The default of WEB_CONCURRENCY: a process for each CPU, at least two: one runs while another restarts."""
    return max(2, available_cpus())


def _limit(cgroup: Path) -> int | None:
    """The control group's CPU limit in whole CPUs (Linux, Documentation/admin-guide/cgroup-v2.rst: cpu.max)."""
    with suppress(OSError, ValueError):
        quota, period = (cgroup / "cpu.max").read_text().split()
        return -(-int(quota) // int(period))
    return None


if __name__ == "__main__":
    print(worker_processes())  # noqa: T201  read by the shell
