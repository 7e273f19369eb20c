"""The memory of bodies that are being received or processed, so that no kind of body uses up what the others need."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from functools import cached_property

SHARE = 0.75  # of a pool that one gateway, or one address, can use


class MemoryPool:
    """A number of bytes that bodies share. The bytes are counted for each user: a gateway, or a client's address."""

    def __init__(self, size: int) -> None:
        self._size = size
        self._held = 0
        self._held_by: Counter[str] = Counter()

    def take(self, count: int, users: Sequence[str]) -> bool:
        """Takes bytes in the names of these users. False if the pool or one of the users has none left."""
        share = self._size * SHARE
        if self._held + count > self._size or any(self._held_by[user] + count > share for user in users):
            return False
        self._held += count
        for user in users:
            self._held_by[user] += count
        return True

    def give_back(self, count: int, users: Sequence[str]) -> None:
        """Gives back bytes that were taken in the names of these users."""
        self._held -= count
        for user in users:
            self._held_by[user] -= count
            if not self._held_by[user]:
                del self._held_by[user]


class BodyMemory:
    """The memory of one body: FREE bytes without asking, then up to SMALL_BODY from `small`, then from `large`."""

    FREE = 64 * 1024  # bytes of each body that are always accepted; connections are limited
    SMALL_BODY = 1_000_000  # bytes; nothing beyond them is taken from `small`

    def __init__(self, small: MemoryPool, large: MemoryPool, users: Callable[[], Sequence[str]]) -> None:
        self._find_users = users
        self._pools = (small, large)
        self._taken = [0, 0]

    @cached_property
    def users(self) -> Sequence[str]:
        """In whose names the memory is taken. Most bodies are small and never need them."""
        return self._find_users()

    def grow(self, size: int) -> bool:
        """Takes what a body of this size needs. False if a pool has no memory left."""
        if size <= self.FREE:
            return True
        needed = (max(0, min(size, self.SMALL_BODY) - self.FREE), max(0, size - max(self.SMALL_BODY, self.FREE)))
        for index, pool in enumerate(self._pools):
            more = needed[index] - self._taken[index]
            if more > 0:
                if not pool.take(more, self.users):
                    return False
                self._taken[index] += more
        return True

    def release(self) -> None:
        """Gives everything back."""
        for index, pool in enumerate(self._pools):
            if self._taken[index]:
                pool.give_back(self._taken[index], self.users)
                self._taken[index] = 0
