"""Counts of what the queue holds, by queue and by session, and the list of workers with their heartbeats."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import Any, NamedTuple

import redis

from actors.redis_queue.keys import SIZE_CLASSES, Keys

MAX_SESSIONS = 100  # sessions that one answer lists


class WorkerHeartbeat(NamedTuple):
    """A worker in the list of workers.

    `silent_s` is the time since its last heartbeat. `info` is the JSON that it sent then, None once it has expired.
    """

    worker: str
    silent_s: float
    info: bytes | None


class QueueStats:
    """Reads counts without a script, so they are not a consistent snapshot.

    Raises, from every method: `redis.RedisError`.
    """

    def __init__(self, client: redis.Redis, keys: Keys, queues: Sequence[str]) -> None:
        self._client = client
        self._keys = keys
        self._queues = queues

    def counts(self) -> dict[str, dict[str, int]]:
        """The number of ready, delayed, running and dead messages of each queue."""
        pipe = self._client.pipeline(transaction=False)
        for queue in self._queues:
            for size_class in SIZE_CLASSES:
                pipe.zcard(self._keys.waiting(queue, size_class))
            pipe.zcard(self._keys.delayed(queue))
            pipe.zcard(self._keys.dead(queue))
        sizes = iter(pipe.execute())
        counts = {
            queue: {"ready": next(sizes) + next(sizes), "delayed": next(sizes), "running": 0, "dead": next(sizes)}
            for queue in self._queues
        }
        for value in self._held_values():
            queue = value.decode(errors="replace").split(":")[1]
            if queue in counts:
                counts[queue]["running"] += 1
        return counts

    def sessions(self, limit: int = MAX_SESSIONS) -> dict[str, dict[str, int]]:
        """The number of ready and running messages of each session, those with most ready messages first."""
        ready: Counter[bytes] = Counter()
        for queue in self._queues:
            for size_class in SIZE_CLASSES:
                ready.update(self._ready_by_session(queue, size_class))
        running = Counter(_session(value) for value in self._held_values())
        names = sorted({*ready, *running}, key=lambda name: (-ready[name], -running[name], name))
        return {
            name.decode(errors="replace"): {"ready": ready[name], "running": running[name]} for name in names[:limit]
        }

    def workers(self) -> list[WorkerHeartbeat]:
        """Every worker in the list of workers, the longest silent first."""
        pipe = self._client.pipeline(transaction=False)
        pipe.time()
        pipe.zrange(self._keys.workers, 0, -1, withscores=True)
        (seconds, microseconds), heartbeats = pipe.execute()
        names = [name.decode() for name, _ in heartbeats]
        infos: Any = self._client.mget([self._keys.worker_info(name) for name in names]) if names else []
        now = seconds + microseconds / 1_000_000
        silent = [max(0.0, now - milliseconds / 1000) for _, milliseconds in heartbeats]
        return [WorkerHeartbeat(*row) for row in zip(names, silent, infos, strict=True)]

    def _ready_by_session(self, queue: str, size_class: str) -> dict[bytes, int]:
        names: Any = self._client.zrange(self._keys.turns(queue, size_class), 0, -1)
        pipe = self._client.pipeline(transaction=False)
        for name in names:
            pipe.zlexcount(self._keys.waiting(queue, size_class), b"[" + name + b"\0", b"(" + name + b"\1")
        return dict(zip(names, pipe.execute(), strict=True))

    def _held_values(self) -> list[bytes]:
        workers: Any = self._client.zrange(self._keys.workers, 0, -1)
        pipe = self._client.pipeline(transaction=False)
        for worker in workers:
            pipe.hvals(self._keys.held(worker.decode()))
        return [value for values in pipe.execute() for value in values]


def _session(held: bytes) -> bytes:
    """The session in a value of `held`; see lua/scheduling.lua."""
    return held.split(b":", 4)[4].split(b",", 3)[3]
