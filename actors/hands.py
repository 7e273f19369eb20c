"""What a worker process holds, and when it takes more."""

from __future__ import annotations

import threading
from collections.abc import Iterable

from actors.belt import Handed

POLL_S = 1.0  # how long a feeder sleeps at most: a wake-up can get lost with the connection that carries it


class Hands:
    """What this process holds and how much more it takes; wakes its feeder when there is room or work."""

    def __init__(self) -> None:
        self.room = 1  # set when the worker boots
        self.low_water = 0
        self._held: dict[str, int] = {}  # key → serial
        self._changed = threading.Condition()
        self._called = False

    def size_for(self, threads: int) -> None:
        """Two messages a thread: enough that none waits for Redis, few enough to share with other processes."""
        self.room = threads * 2
        self.low_water = threads + threads // 2

    def take(self, handed: Iterable[Handed]) -> list[Handed]:
        """Notes what was handed over; returns what is new to this process."""
        with self._changed:
            new = [item for item in handed if self._held.get(item.key) != item.serial]
            self._held.update((item.key, item.serial) for item in new)
            return new

    def drop(self, key: str, serial: int) -> None:
        with self._changed:
            if self._held.get(key) == serial:
                del self._held[key]
            if len(self._held) == self.low_water:
                self._changed.notify_all()

    def free(self) -> int:
        return self.room - len(self._held)

    def call(self) -> None:
        """Work has come: the feeder looks at once."""
        with self._changed:
            self._called = True
            self._changed.notify_all()

    def wait(self, seconds: float) -> None:
        """Until there is room and (work was announced or `seconds` have passed), at most POLL_S."""
        with self._changed:
            if self.free() <= 0:
                self._changed.wait_for(lambda: len(self._held) <= self.low_water, POLL_S)
            elif not self._called:
                self._changed.wait_for(lambda: self._called, min(seconds, POLL_S))
            self._called = False
