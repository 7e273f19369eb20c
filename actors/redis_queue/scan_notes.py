"""Notes in Redis of requeue scans, so that one scan serves all processes that see Redis return."""

from __future__ import annotations

from typing import Any

import redis

from actors.redis_queue.keys import Keys

NOTED_S = 60  # how long a finished scan is known to those that waited for it


class ScanNotes:
    """The time of the last finished requeue scan, by Redis' clock: the same for all processes."""

    def __init__(self, client: redis.Redis, keys: Keys) -> None:
        self._client = client
        self._keys = keys

    def now_ms(self) -> int:
        """The time of Redis' clock in Unix milliseconds."""
        answer: Any = self._client.time()
        seconds, microseconds = answer
        return int(seconds) * 1000 + int(microseconds) // 1000

    def last_began_ms(self) -> int:
        """When the last finished scan began, by `now_ms`; 0 if this Redis knows none."""
        began: Any = self._client.get(self._keys.scanned)
        return int(began or 0)

    def note(self, began_ms: int) -> None:
        """Notes that a scan that began at this time has enqueued everything that was missing."""
        self._client.set(self._keys.scanned, began_ms, ex=NOTED_S)
