"""Reads the lists of finished jobs."""

from __future__ import annotations

from typing import Any

from actors.redis_queue.queue import RedisQueue


def finished_jobs(queue: RedisQueue, name: str) -> list[bytes]:
    """The entries of a list, the newest first."""
    ids: Any = queue.client.zrevrange(queue.keys.finished_index(name), 0, -1)
    entries: Any = queue.client.hmget(queue.keys.finished_entries(name), ids) if ids else []
    return [entry for entry in entries if entry is not None]
