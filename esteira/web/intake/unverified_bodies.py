"""Bodies whose sender is not known yet: the signature covers the body, or the body has the login.

They are limited in number. When there are too many, the slowest one makes room, so that stalled bodies do not keep out
those that arrive at once.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Sequence

from esteira.web.intake.body_memory import BodyMemory

MAX_BODIES = 128  # at the same time in one process
MAX_PER_USER = 64  # for one gateway or one address
YOUNG_S = 1.0  # a body that is younger does not have to make room


class UnverifiedBody:
    """A body that is being received. `timeout` ends its reading."""

    def __init__(self, memory: BodyMemory, timeout: asyncio.Timeout, now: float) -> None:
        self.users = memory.users
        self.received = 0
        self.evicted = False
        self._memory = memory
        self._timeout = timeout
        self._began = now

    def age(self, now: float) -> float:
        return now - self._began

    def speed(self, now: float) -> float:
        """Bytes per second."""
        return self.received / (self.age(now) + 0.001)

    def evict(self, now: float) -> None:
        """Gives its memory back, and ends its reading with a TimeoutError."""
        self.evicted = True
        self._memory.release()
        if not self._timeout.expired():
            self._timeout.reschedule(now)


class UnverifiedBodies:
    """The unverified bodies of one process, in the order in which they began."""

    def __init__(self) -> None:
        self._bodies: dict[UnverifiedBody, None] = {}
        self._count: Counter[str] = Counter()

    def add(self, body: UnverifiedBody, now: float) -> bool:
        """Adds a body; a slow one makes room if needed. False if there is no room."""
        for user in body.users:
            if self._count[user] >= MAX_PER_USER and not self.evict_slowest((user,), now):
                return False
        if len(self._bodies) >= MAX_BODIES and not self.evict_slowest((), now):
            return False
        self._bodies[body] = None
        self._count.update(body.users)
        return True

    def remove(self, body: UnverifiedBody) -> None:
        """Removes a body that has ended; one that was evicted is removed already."""
        if body in self._bodies:
            del self._bodies[body]
            self._count.subtract(body.users)
            self._count += Counter()  # drops those without a body

    def evict_slowest(self, users: Sequence[str], now: float) -> bool:
        """Evicts the slowest body that is not young, of one of these users if there are any. False if there is none."""
        old = [
            body
            for body in self._bodies
            if body.age(now) >= YOUNG_S and (not users or any(user in body.users for user in users))
        ]
        if not old:
            return False
        slowest = min(old, key=lambda body: body.speed(now))
        self.remove(slowest)
        slowest.evict(now)
        return True
