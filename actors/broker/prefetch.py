"""What a worker process holds, and when it takes more."""

from __future__ import annotations

import heapq
import threading
import time
from collections.abc import Iterable

from actors.redis_queue.queue import FetchedMessage
from actors.redis_queue.scheduling import SizeClasses

MAX_DETACHED = 32  # then the threads wait: what is fetched lies on the disk, and dies with this process
POLL_S = 1.0  # how long a feeder sleeps at most: a wake-up can get lost with the connection that carries it


class Prefetcher:
    """What this process holds and how much more it takes; wakes its feeder when there is something to do.

    What was handed over lies ready here, by its turn, until a thread is about to have time for it: so a session that
    has little in flight overtakes what others have here already.
    """

    def __init__(self, size_classes: SizeClasses) -> None:
        self.size_classes = size_classes
        self.room = self.threads = self.large_room = 1  # set when the worker boots
        self.low_water = self.ahead = 0
        self._held: dict[str, FetchedMessage] = {}
        self._detached: set[str] = set()  # of these, what no thread of its own works on any more
        self._ready: list[tuple[int, FetchedMessage]] = []
        self._changed = threading.Condition()
        self._asked = False  # for the first time
        self._called = False
        self._dropped = False  # since the last look
        self._look_at = 0.0

    def size_for(self, threads: int) -> None:
        """Two messages a thread: enough that none waits for Redis, few enough to share with other processes."""
        self.threads = threads
        self.room = threads * 2
        self.low_water = threads + threads // 2
        self.ahead = (threads + 3) // 4  # given out beyond the threads, so that none waits for the feeder
        self.large_room = self.size_classes.large_threads(threads)

    def add(self, handed: Iterable[FetchedMessage]) -> None:
        """Notes what was handed over; what this process knows already changes nothing."""
        with self._changed:
            self._asked = True
            for item in handed:
                known = self._held.get(item.key)
                if known is not None and known.delivery_id == item.delivery_id:
                    continue
                if known is not None:  # that delivery is void: Redis gave the message out anew
                    self._ready = [entry for entry in self._ready if entry[1].key != item.key]
                    heapq.heapify(self._ready)
                self._held[item.key] = item
                heapq.heappush(self._ready, (item.priority, item))

    def pop(self) -> FetchedMessage | None:
        """What is to run next; None while there is nothing or every thread has enough to do."""
        with self._changed:
            return heapq.heappop(self._ready)[1] if self._may_give() else None

    def release(self) -> None:
        """Forgets what was not given out: it is among what this worker holds, and the next feeder asks for that."""
        with self._changed:
            for _, item in self._ready:
                del self._held[item.key]
            self._ready.clear()

    def remove(self, key: str, delivery_id: int) -> None:
        with self._changed:
            item = self._held.get(key)
            if item is not None and item.delivery_id == delivery_id:
                del self._held[key]
                self._detached.discard(key)
                self._dropped = True
                self._called |= item.large  # there may be another one that waits for its turn among the large
            if self._may_give() or self._wants():
                self._changed.notify_all()

    def detach(self, key: str) -> None:
        """Notes that this message goes on without a thread of its own: its thread has time for another one."""
        with self._changed:
            self._detached.add(key)
            self._dropped = True
            if self._may_give() or self._wants():
                self._changed.notify_all()

    def free(self) -> tuple[int, int]:
        """How many messages more, and how many large ones at most among them."""
        free = max(0, self.room - self._busy())
        large = sum(item.large for item in self._held.values())
        return free, min(free, max(0, self.large_room - large))

    def busy(self) -> int:
        """How many messages this process holds; as long as it has not asked for any, as many as it would take."""
        return len(self._held) if self._asked else self.room

    def wake(self) -> None:
        """There is work: the feeder looks as soon as a thread has time for it."""
        with self._changed:
            self._called = True
            self._changed.notify_all()

    def wait(self, until: float) -> bool:
        """Until more is wanted, or something may be given out; whether more is wanted.

        More is wanted when work was announced, or at the time `until` (of the monotonic clock). A process whose
        threads are all busy leaves it to those that have time, until it has finished something itself.
        """
        with self._changed:
            self._look_at = until
            patience = until - time.monotonic()
            seconds = patience if 0 < patience < POLL_S else POLL_S
            self._changed.wait_for(lambda: self._may_give() or self._wants(), seconds)
            if self._may_give() or not self._wants():
                return False
            self._called = self._dropped = False
            return True

    def _busy(self) -> int:
        """How many messages have a thread or wait for one."""
        return len(self._held) - len(self._detached)

    def _is_full(self) -> bool:
        return len(self._detached) >= MAX_DETACHED

    def _may_give(self) -> bool:
        if not self._ready or self._is_full():
            return False
        return self._busy() - len(self._ready) < self.threads + self.ahead

    def _wants(self) -> bool:
        if self._is_full():  # others may have time for what this process could only keep
            return False
        announced = self._called or time.monotonic() >= self._look_at
        idle = self._busy() < self.threads
        return announced and (idle or (self._dropped and self._busy() <= self.low_water))
