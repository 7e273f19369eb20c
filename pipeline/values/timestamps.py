"""Formats times as ISO 8601 in UTC. Recent seconds are cached: most calls are about the current one."""

from __future__ import annotations

from datetime import UTC, datetime
from functools import lru_cache


def iso_milliseconds(milliseconds: int) -> str:
    """Formats Unix milliseconds: `2022-01-01T00:00:01.234Z`."""
    seconds, rest = divmod(milliseconds, 1000)
    return f"{_second(seconds)}.{rest:03d}Z"


@lru_cache(maxsize=64)
def _second(seconds: int) -> str:
    return datetime.fromtimestamp(seconds, UTC).replace(tzinfo=None).isoformat()
