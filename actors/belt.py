"""The belt in Redis: one Python method for each Lua script, and nothing else.

Every script is idempotent, so a call whose answer was lost may be made again.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from functools import lru_cache
from importlib import resources
from typing import Any, NamedTuple

import redis
from redis.backoff import NoBackoff
from redis.retry import Retry

from actors.keys import Keys
from actors.ledger import Shelf
from pipeline.models import Stage
from pipeline.settings import Settings, current_settings

QUICK_TIMEOUT_S = 0.25  # what a listener waits at most
WORKER_TIMEOUT_S = 5.0

SCRIPTS = ("offer", "missing", "fetch", "held", "begin", "finish", "beat", "reap")


def connect(url: str, *, timeout_s: float) -> redis.Redis:
    """A client that gives up after `timeout_s` and never repeats a command by itself."""
    return redis.Redis.from_url(
        url,
        socket_timeout=timeout_s,
        socket_connect_timeout=timeout_s,
        retry=Retry(NoBackoff(), 0),
        health_check_interval=0,
        encoding_errors="surrogateescape",  # garbage in a queue must be nameable, to be thrown out
    )


class Handed(NamedTuple):
    """A message that a fetch handed over; `data` is as it was sent."""

    key: str
    serial: int
    crashes: int
    queue: str
    data: bytes


class Step(NamedTuple):
    """What finish does: `verdict` is one of next, later, back, done, dead (see finish.lua)."""

    verdict: str
    queue: str
    message: bytes = b""
    delay_ms: int = 0


class Belt:
    """The scripts on one client.

    Raises, from every method: `redis.RedisError`, while Redis is away, starting, full or read-only.
    """

    def __init__(self, client: redis.Redis, *, queues: Sequence[str], keys: Keys | None = None) -> None:
        self.client = client
        self.queues = tuple(queues)
        self.keys = keys or Keys()
        folder = resources.files("actors") / "lua"
        self._scripts = {name: client.register_script((folder / f"{name}.lua").read_text()) for name in SCRIPTS}

    def offer(self, key: str, queue: str, message: bytes, *, delay_ms: int = 0) -> bool:
        """Puts a message on the belt; False if its key is on it already."""
        dead = [self.keys.dead(name) for name in self.queues]
        keys = [self.keys.messages, self.keys.ready(queue), self.keys.delayed(queue), *dead, self.keys.dead_messages]
        return bool(self._scripts["offer"](keys, [key, message, delay_ms, self.keys.channel, queue]))

    def missing(self, keys: Sequence[str]) -> list[str]:
        """Which of these keys are not on the belt."""
        return [key.decode() for key in self._scripts["missing"]([self.keys.messages], keys)] if keys else []

    def fetch(self, worker: str, count: int, queues: Sequence[str]) -> tuple[float | None, list[Handed]]:
        """Up to `count` messages for a worker, and the seconds until the next delayed one is due, or None."""
        keys = [self.keys.messages, self.keys.crashes, self.keys.serial, self.keys.workers]
        keys += [self.keys.held(worker), self.keys.dead_messages]
        for queue in queues:
            keys += [self.keys.ready(queue), self.keys.delayed(queue), self.keys.dead(queue)]
        due_ms, *handed = self._scripts["fetch"](keys, [worker, count, *queues])
        return (due_ms / 1000 if due_ms >= 0 else None), [_handed(row) for row in handed]

    def held(self, worker: str) -> list[Handed]:
        """Everything that a worker holds."""
        keys = [self.keys.messages, self.keys.crashes, self.keys.held(worker)]
        return [_handed(row) for row in self._scripts["held"](keys, [])]

    def begin(self, worker: str, key: str, serial: int) -> bool:
        """Notes that a message with crashes against its name is begun; False if the delivery is not held any more."""
        return bool(self._scripts["begin"]([self.keys.held(worker)], [key, serial]))

    def finish(self, worker: str, key: str, serial: int, step: Step, *, note: tuple[Shelf, str] | None = None) -> bool:
        """Carries out a verdict, with the ledger's entry; False if the delivery was not held any more."""
        shelf = note[0] if note else None
        name = shelf.name if shelf else "completed"
        keys = [self.keys.messages, self.keys.crashes, self.keys.held(worker)]
        keys += [self.keys.ready(step.queue), self.keys.delayed(step.queue), self.keys.dead(step.queue)]
        keys += [self.keys.dead_messages, self.keys.shelf(name), self.keys.entries(name)]
        limits = shelf.limits if shelf else (0, -1, -1)
        args: list[str | int | bytes] = [
            key,
            serial,
            step.verdict,
            step.message,
            step.delay_ms,
            self.keys.channel,
            step.queue,
        ]
        return bool(self._scripts["finish"](keys, [*args, note[1] if note else "", *limits]))

    def beat(self, worker: str, *, silence_ms: int) -> list[str]:
        """One heartbeat; the workers that have been silent for longer than `silence_ms`."""
        return [name.decode() for name in self._scripts["beat"]([self.keys.workers], [worker, silence_ms])]

    def reap(self, worker: str, *, silence_ms: int, crash: bool) -> int:
        """Takes back what a dead worker held; how many messages, or -1 if it lives or is gone already."""
        keys = [self.keys.messages, self.keys.crashes, self.keys.workers, self.keys.held(worker)]
        keys += [self.keys.ready(queue) for queue in self.queues]
        args: list[str | int] = [worker, silence_ms, int(crash), self.keys.channel, *self.queues]
        return int(self._scripts["reap"](keys, args))

    def lock(self, name: str, *, ttl_ms: int) -> bool:
        """Whether this caller may do the named chore now; nobody else may for `ttl_ms`."""
        return bool(self.client.set(self.keys.lock(name), "1", nx=True, px=ttl_ms))

    def counts(self) -> dict[str, dict[str, int]]:
        """For each queue how many messages are ready, delayed, running and dead letters."""
        pipe = self.client.pipeline(transaction=False)
        for queue in self.queues:
            pipe.llen(self.keys.ready(queue))
            pipe.zcard(self.keys.delayed(queue))
            pipe.zcard(self.keys.dead(queue))
        pipe.zrange(self.keys.workers, 0, -1)
        *sizes, workers = pipe.execute()
        counts = {
            queue: {"ready": sizes[3 * i], "delayed": sizes[3 * i + 1], "running": 0, "dead": sizes[3 * i + 2]}
            for i, queue in enumerate(self.queues)
        }
        for queue in self._held_queues(workers):
            counts[queue]["running"] += 1
        return counts

    def _held_queues(self, workers: Sequence[bytes]) -> list[str]:
        pipe = self.client.pipeline(transaction=False)
        for worker in workers:
            pipe.hvals(self.keys.held(worker.decode()))
        places = [value.decode().split(":")[1] for values in pipe.execute() for value in values]
        return [queue for queue in places if queue in self.queues]

    def ledger(self, name: str) -> list[bytes]:
        """The entries of a shelf of the ledger, newest first."""
        ids: Any = self.client.zrevrange(self.keys.shelf(name), 0, -1)
        entries: Any = self.client.hmget(self.keys.entries(name), ids) if ids else []
        return [found for found in entries if found is not None]


def open_belt(settings: Settings, *, timeout_s: float = WORKER_TIMEOUT_S) -> Belt:
    """The belt for whoever looks at it or puts something on it without being a worker."""
    return Belt(connect(settings.redis, timeout_s=timeout_s), queues=[stage.value for stage in Stage])


def shared_belt() -> Belt:
    """This process's belt, made at first use. A forked child makes its own."""
    return _belt_of(os.getpid())


@lru_cache(maxsize=1)
def _belt_of(_pid: int) -> Belt:
    return open_belt(current_settings())


def _handed(row: list[Any]) -> Handed:
    key, serial, crashes, queue, data = row
    return Handed(key.decode("utf-8", "surrogateescape"), int(serial), int(crashes), queue.decode(), data)
