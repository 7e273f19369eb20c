"""The figures of all processes, added up in one hash in Redis.

Each process keeps its own and ships them every few seconds in one round trip, so counting stays off the belt, and
it does not matter which host a worker runs on, when it dies or which web process is asked. A killed process takes its
last seconds along. While Redis is away the figures wait in their process.
"""

from __future__ import annotations

import re

import redis

from actors.belt import Belt
from pipeline.meters import PENDING

SHIP_EVERY_S = 3.0
NUMBER = re.compile(rb"[0-9.e+-]*[0-9]")


def ship(belt: Belt) -> bool:
    """Adds this process's figures to those in Redis; False if Redis did not take them, and they are kept."""
    figures = PENDING.take()
    if not figures:
        return True
    pipe = belt.client.pipeline(transaction=True)
    for name, n in figures.items():
        pipe.hincrbyfloat(belt.keys.figures, name, n)
    try:
        pipe.execute(raise_on_error=False)  # what one field refuses would be added to all the others again and again
    except (redis.RedisError, OSError):
        # If only the answer got lost they count twice: a spike is seen and understood, a gap is neither.
        PENDING.add(figures)
        return False
    return True


def shipped(belt: Belt) -> dict[str, float]:
    """The figures of all processes since Redis holds them, by their names.

    Raises:
        redis.RedisError: it is away.
    """
    found: dict[bytes, bytes] = dict(belt.client.hgetall(belt.keys.figures))  # type: ignore[arg-type]
    return {name.decode(errors="replace"): float(n) for name, n in found.items() if NUMBER.fullmatch(n)}
