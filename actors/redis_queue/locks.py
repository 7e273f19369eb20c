"""Locks with a time to live: one process at a time runs a maintenance task."""

from __future__ import annotations

import redis

from actors.redis_queue.keys import Keys


class Locks:
    """Named locks in Redis. A periodic task lets its lock expire, so that it runs at most once in its interval."""

    def __init__(self, client: redis.Redis, keys: Keys) -> None:
        self._client = client
        self._keys = keys

    def acquire(self, name: str, *, ttl_ms: int) -> bool:
        """Whether the caller holds the lock now; no other process gets it for `ttl_ms`."""
        return bool(self._client.set(self._keys.lock(name), "1", nx=True, px=ttl_ms))

    def extend(self, name: str, *, ttl_ms: int) -> None:
        """Restarts the lock's time to live, for a task that takes longer than its interval."""
        self._client.set(self._keys.lock(name), "1", xx=True, px=ttl_ms)

    def release(self, name: str) -> None:
        """Ends the lock before it expires."""
        self._client.delete(self._keys.lock(name))
