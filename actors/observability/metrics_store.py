"""The metrics of all processes, added up in one hash in Redis.

Each process keeps its increments in memory and flushes them every few seconds in one round trip, so that recording
needs no Redis, and any web process can answer for all workers on all hosts. A killed process loses its last seconds;
while Redis is unreachable, increments wait in their process. A gauge is a key of each process and expires unless the
process renews it.
"""

from __future__ import annotations

import os
import re
import socket
from typing import Any

import redis

from actors.redis_queue.queue import RedisQueue
from pipeline.metrics import COUNTER_BUFFER, GAUGE_VALUES

FLUSH_INTERVAL_S = 3.0
GAUGE_TTL_MS = 15_000  # a process that has missed five flushes no longer counts
NUMBER = re.compile(rb"[0-9.e+-]*[0-9]")


def flush(queue: RedisQueue) -> bool:
    """Adds this process's increments to the hash in Redis; False if that failed and they are kept for the next call."""
    increments, gauges = COUNTER_BUFFER.drain(), GAUGE_VALUES.changed()
    if not increments and not gauges:
        return True
    pipe = queue.client.pipeline(transaction=True)
    process = f"{socket.gethostname()}:{os.getpid()}"
    for name, value in gauges.items():
        key = queue.keys.gauge(name, process)
        pipe.set(key, value, px=GAUGE_TTL_MS)
        pipe.sadd(queue.keys.gauges, key)
    for name, n in increments.items():
        pipe.hincrbyfloat(queue.keys.metrics, name, n)
    try:
        pipe.execute(raise_on_error=False)  # one invalid field must not make all others be added again and again
    except (redis.RedisError, OSError):
        # If only the answer was lost, the increments count twice: a peak is noticed, a gap is not.
        COUNTER_BUFFER.add_all(increments)
        return False
    return True


def read_counters(queue: RedisQueue) -> dict[str, float]:
    """The counters and histograms of all processes, by field name.

    Raises:
        redis.RedisError: Redis is unreachable.
    """
    fields: dict[bytes, bytes] = dict(queue.client.hgetall(queue.keys.metrics))  # type: ignore[arg-type]
    return {name.decode(errors="replace"): float(n) for name, n in fields.items() if NUMBER.fullmatch(n)}


def read_gauges(queue: RedisQueue) -> dict[str, float]:
    """The gauges, added up over the processes that have flushed within GAUGE_TTL_MS, by name.

    Raises:
        redis.RedisError: Redis is unreachable.
    """
    members: Any = queue.client.smembers(queue.keys.gauges)
    keys = sorted(members)
    values: Any = queue.client.mget(keys) if keys else []
    expired = [key for key, value in zip(keys, values, strict=True) if value is None]
    if expired:
        queue.client.srem(queue.keys.gauges, *expired)
    totals: dict[str, float] = {}
    prefix = len(queue.keys.gauge("", "")) - 1
    for key, value in zip(keys, values, strict=True):
        if value is not None and NUMBER.fullmatch(value):
            name = key.decode(errors="replace")[prefix:].partition(":")[0]
            totals[name] = totals.get(name, 0) + float(value)
    return totals
