"""The reaper: requeues what dead workers held."""

from __future__ import annotations

import time

import structlog

from actors.redis_queue.queue import RedisQueue
from pipeline.metrics import TAKEN_OVER

LOCK_MS = 2000  # other workers leave dead workers to the one that has the lock
STEADY_S = 8.0  # heartbeats come every 3 s, and Redis may take 5 s to answer

log = structlog.get_logger()


class Reaper:
    """Requeues the messages of workers whose heartbeats have stopped.

    After an outage of Redis, or after this process was stopped, all workers look dead at first. Therefore nothing is
    requeued until this process has sent heartbeats for `STEADY_S` without a gap, in which living workers have sent
    theirs too.
    """

    def __init__(
        self, queue: RedisQueue, preview_queue: RedisQueue, *, heartbeat_every_s: float, silence_ms: int
    ) -> None:
        self._queue = queue
        self._preview_queue = preview_queue
        self._max_gap_s = 2 * heartbeat_every_s
        self._silence_ms = silence_ms
        self._last = self._steady_since = time.monotonic()

    def reap(self, dead: list[str], dead_in_previews: list[str]) -> int:
        """Requeues what these workers held in each queue; called after each heartbeat. Returns how many messages.

        Raises:
            redis.RedisError: Redis is away.
        """
        if not self._is_steady():
            return 0
        messages = self._reap_in(self._queue, dead) + self._reap_in(self._preview_queue, dead_in_previews)
        if messages:
            TAKEN_OVER.add(n=messages)
            workers = len({*dead, *dead_in_previews})
            log.warning("messages of dead workers requeued", workers=workers, messages=messages)
        return messages

    def _reap_in(self, queue: RedisQueue, dead: list[str]) -> int:
        if not dead or not queue.locks.acquire("reaper", ttl_ms=LOCK_MS):
            return 0
        return sum(max(0, queue.reap(worker, silence_ms=self._silence_ms, crash=True)) for worker in dead)

    def _is_steady(self) -> bool:
        now = time.monotonic()
        if now - self._last > self._max_gap_s:
            self._steady_since = now
        self._last = now
        return now - self._steady_since >= STEADY_S
