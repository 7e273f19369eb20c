"""The memory that this process and its children may use: the limit of its container, or its own."""

from __future__ import annotations

import resource
from contextlib import suppress
from pathlib import Path

CGROUP = Path("/sys/fs/cgroup")
# Of version 2 and of version 1 (Linux, Documentation/admin-guide/cgroup-v2.rst and cgroup-v1/memory.rst).
FILES = ("memory.max", "memory/memory.limit_in_bytes")
NO_LIMIT_BYTES = 1 << 50  # version 1 writes a huge number for no limit
# Measured as shares of memory (Pss) after two files: the supervisor 82, the embedded server 7, the web app
# 118 and the parent of the workers 21; a worker 72, and 42 for each of its decoder processes.
BASE_MB, WORKER_MB = 230, 120
# Measured as the largest address space (VmPeak): a worker with eight threads 1345, `esteira start` itself 636. Stacks
# and allocators of threads reserve most of it and use little.
WORKER_ADDRESS_MB, LEAST_ADDRESS_MB = 1500, 1100


def memory_limit_mb(cgroup: Path = CGROUP) -> int | None:
    """The limit in MB (10^6 bytes); None without one."""
    limits = [*_cgroup_limits(cgroup), *_own_limits()]
    return min(limits) // 1_000_000 if limits else None


def address_space_mb() -> int | None:
    """The limit of this process's address space (`ulimit -v`) in MB, which its children inherit; None without one."""
    return next((limit // 1_000_000 for limit in _own_limits()), None)


def needed_mb(workers: int) -> int:
    """The memory that `esteira start` needs with so many worker processes before it works on a file."""
    return BASE_MB + WORKER_MB * workers


def _cgroup_limits(cgroup: Path) -> list[int]:
    limits = []
    for name in FILES:
        with suppress(OSError, ValueError):  # there is no such file, or it says "max"
            limits.append(int((cgroup / name).read_text()))
    return [limit for limit in limits if limit < NO_LIMIT_BYTES]


def _own_limits() -> list[int]:
    """The limit of the address space (ulimit -v)."""
    soft, _ = resource.getrlimit(resource.RLIMIT_AS)
    return [] if soft == resource.RLIM_INFINITY else [soft]
