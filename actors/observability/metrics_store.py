"""The figures of all processes, added up in one hash in Redis.

Each process keeps its own and ships them every few seconds in one round trip, so counting stays off the belt, and
it does not matter which host a worker runs on, when it dies or which web process is asked. A killed process takes its
last seconds along. While Redis is away the figures wait in their process. What goes up and down is a key of each
process, which lives as long as it is told anew.
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
LEVEL_MS = 15_000  # five times missed: its process is gone
NUMBER = re.compile(rb"[0-9.e+-]*[0-9]")


def flush(belt: RedisQueue) -> bool:
    """Adds this process's figures to those in Redis; False if Redis did not take them, and they are kept."""
    figures, levels = COUNTER_BUFFER.drain(), GAUGE_VALUES.changed()
    if not figures and not levels:
        return True
    pipe = belt.client.pipeline(transaction=True)
    process = f"{socket.gethostname()}:{os.getpid()}"
    for name, n in levels.items():
        key = belt.keys.gauge(name, process)
        pipe.set(key, n, px=LEVEL_MS)
        pipe.sadd(belt.keys.gauges, key)
    for name, n in figures.items():
        pipe.hincrbyfloat(belt.keys.metrics, name, n)
    try:
        pipe.execute(raise_on_error=False)  # what one field refuses would be added to all the others again and again
    except (redis.RedisError, OSError):
        # If only the answer got lost they count twice: a spike is seen and understood, a gap is neither.
        COUNTER_BUFFER.add_all(figures)
        return False
    return True


def read_counters(belt: RedisQueue) -> dict[str, float]:
    """The figures of all processes since Redis holds them, by their names.

    Raises:
        redis.RedisError: it is away.
    """
    found: dict[bytes, bytes] = dict(belt.client.hgetall(belt.keys.metrics))  # type: ignore[arg-type]
    return {name.decode(errors="replace"): float(n) for name, n in found.items() if NUMBER.fullmatch(n)}


def read_gauges(belt: RedisQueue) -> dict[str, float]:
    """What goes up and down, added up over the processes that have told of it lately, by their names.

    Raises:
        redis.RedisError: it is away.
    """
    members: Any = belt.client.smembers(belt.keys.gauges)
    keys = sorted(members)
    values: Any = belt.client.mget(keys) if keys else []
    gone = [key for key, n in zip(keys, values, strict=True) if n is None]
    if gone:
        belt.client.srem(belt.keys.gauges, *gone)
    found: dict[str, float] = {}
    before = len(belt.keys.gauge("", "")) - 1
    for key, n in zip(keys, values, strict=True):
        if n is not None and NUMBER.fullmatch(n):
            name = key.decode(errors="replace")[before:].partition(":")[0]
            found[name] = found.get(name, 0) + float(n)
    return found
