"""The memory that a container may use, and the least that its programs need."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

CGROUP = Path("/sys/fs/cgroup")
# Of control groups version 2 and version 1 (Linux, Documentation/admin-guide). A container sees its own at this place.
LIMITS = ("memory.max", "memory/memory.limit_in_bytes")
MB = 1024 * 1024
# Measured with one worker process and one picture; below it the kernel kills processes.
LEAST_MB: Mapping[str, int] = {"start": 320, "web": 128, "worker": 192}
OTHER_LEAST_MB = 96  # commands


def shortage(arguments: Sequence[str], cgroup: Path = CGROUP) -> str | None:
    """What to do about a memory limit that is too low for the program of these arguments; None if it is not."""
    role = arguments[0] if arguments else "start"
    limit, least = _limit_mb(cgroup), LEAST_MB.get(role, OTHER_LEAST_MB)
    if limit is None or limit >= least:
        return None
    return f"the memory limit of this container is {limit} MB, and `{role}` needs at least {least} MB: raise the limit"


def _limit_mb(cgroup: Path) -> int | None:
    for name in LIMITS:
        try:
            return int((cgroup / name).read_text()) // MB
        except (OSError, ValueError):  # the other version, or `max`
            continue
    return None
