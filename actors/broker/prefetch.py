"""The messages that a worker process holds, which of them runs next, and when it fetches more."""

from __future__ import annotations

import heapq
import threading
import time
from collections.abc import Callable, Sequence
from typing import NamedTuple

from actors.redis_queue.messages import FetchedMessage, FetchLimits, SessionDownloads
from pipeline.models import Stage

MAX_DETACHED = 32  # more wait in threads: their files are on this machine's disk, and a crash costs all of them a retry
RECHECK_S = 0.1  # between checks for a free thread while another prefetcher's messages take them all
DOWNLOADS = Stage.FETCH.value  # the queue whose messages are downloads
SHARE_OF_PREVIEWS = 4  # one thread in so many makes previews
SHARE_OF_HISTORY = 4  # one thread in so many works on the history


def leave_a_quarter(threads: int) -> int:
    """How many of these threads may download for one session: all but a quarter, but at least one."""
    return max(1, threads - max(1, threads // 4))


class PrefetchLimits(NamedTuple):
    """How many messages a process holds.

    `threads` messages run at once, `ahead` more are popped so that no thread waits for the fetcher. `room` are held at
    most, `large_room` of large files among them. `per_session` downloads of one session run at once (0: any number),
    and twice as many are held, so that slow servers of one session leave threads and room to others; the threads of
    large files are shared likewise. `history_room` are held at most of the history, which must not take the threads
    that new messages need. In all processes together `per_session_total` are held (0: any number), and then none that
    does not run. A process whose threads are all busy fetches again when it has finished something and holds
    at most `low_water`. `poll_s` is the time between fetches that no message announced: an announcement can be lost
    together with the connection that carries it.
    """

    threads: int = 1
    ahead: int = 0
    room: int = 1
    large_room: int = 1
    history_room: int = 1
    per_session: int = 0
    per_session_total: int = 0
    low_water: int = 0
    poll_s: float = 1.0

    @classmethod
    def of_stages(cls, threads: int, *, large_room: int, per_session: int | None = None) -> PrefetchLimits:
        """Two messages a thread: enough that no thread waits for Redis, few enough to share with other processes.

        A quarter of the threads never download for the session that has all others; fewer do with `per_session`
        downloads for each session in all processes.
        """
        total = per_session or 0
        here = leave_a_quarter(threads)
        return cls(
            threads=threads,
            ahead=(threads + 3) // 4,
            room=threads * 2,
            large_room=large_room,
            history_room=max(1, threads // SHARE_OF_HISTORY),
            per_session=min(here, total) if total else here,
            per_session_total=total,
            low_water=threads + threads // 2,
        )

    @classmethod
    def of_previews(cls, threads: int, *, alone: bool) -> PrefetchLimits:
        """A quarter of the threads, at least one; all of them if the process runs no stage (`alone`)."""
        share = threads if alone else max(1, threads // SHARE_OF_PREVIEWS)
        return cls(share, 0, share, share, share, low_water=-1, poll_s=3.0)


class Prefetcher:
    """The messages that this process has fetched from one Redis queue.

    A fetched message waits here, in the order of its priority, until a thread is about to be free: so a message of a
    session that has little in flight overtakes others that were fetched earlier. `free_threads` says how many threads
    are free for this prefetcher's messages, where others have precedence.
    """

    def __init__(self, *, free_threads: Callable[[], int] | None = None) -> None:
        self.limits = PrefetchLimits()  # set when the worker boots
        self._free_threads = free_threads
        self._held: dict[str, FetchedMessage] = {}
        self._downloading: dict[str, str] = {}  # of these, the downloads that have a thread, and their sessions
        self._detached: set[str] = set()  # of these, the messages that run without a worker thread of their own
        self._ready: list[tuple[int, FetchedMessage]] = []
        self._changed = threading.Condition()
        self._fetching = True  # a fetch has begun whose result is not added yet, or the first one is still to come
        self._announced = False
        self._removed = False  # since the last fetch
        self._limited = False  # in the last fetch a session was at the limit of its downloads
        self._fetch_at = 0.0

    def add(self, messages: Sequence[FetchedMessage], *, requested: int | None = None, limited: bool = False) -> None:
        """Adds messages; a delivery that is held already changes nothing.

        `requested` is how many messages a fetch has asked for, of which these are the result: if it got as many, there
        may be more. `limited`: there is more, and a session may have it when some of its downloads have ended.
        """
        with self._changed:
            if requested is not None:
                self._fetching = False
                self._limited = limited
                self._announced |= 0 < requested == len(messages)
            for message in messages:
                held = self._held.get(message.key)
                if held is not None and held.delivery_id == message.delivery_id:
                    continue
                if held is not None:  # Redis has delivered it anew, so the former delivery is void
                    self._ready = [entry for entry in self._ready if entry[1].key != message.key]
                    heapq.heapify(self._ready)
                    self._downloading.pop(message.key, None)
                self._held[message.key] = message
                heapq.heappush(self._ready, (message.priority, message))

    def pop(self) -> FetchedMessage | None:
        """The message to run next; None if none is ready or every thread has enough to do."""
        with self._changed:
            return self._pop() if self._may_pop() else None

    def release(self) -> None:
        """Forgets the messages that were not popped. Redis has them as held: the next fetcher asks for them."""
        with self._changed:
            for _, message in self._ready:
                del self._held[message.key]
            self._ready.clear()

    def remove(self, key: str, delivery_id: int) -> None:
        """Removes a delivery that is acknowledged."""
        with self._changed:
            message = self._held.get(key)
            if message is not None and message.delivery_id == delivery_id:
                del self._held[key]
                self._detached.discard(key)
                self._downloading.pop(key, None)
                self._removed = True
                self._announced |= message.large or self._limited  # another one may wait for its room
            self._notify()

    def detach(self, key: str) -> None:
        """Notes that this message continues without a thread of its own, so its thread is free for another one."""
        with self._changed:
            self._detached.add(key)
            self._downloading.pop(key, None)
            self._removed = True
            self._announced |= self._limited
            self._notify()

    def free(self) -> tuple[int, FetchLimits]:
        """How many messages more to fetch, and within which limits."""
        free = max(0, min(self.limits.room, self._threads(self.limits.room)) - self._busy())
        large = sum(message.large for message in self._held.values())
        large_free = min(free, max(0, self.limits.large_room - large))
        large_here = leave_a_quarter(self.limits.large_room)
        # What waits here counts for all processes: with a limit of its own, a session's files run where they are held.
        here = self.limits.per_session * (1 if self.limits.per_session_total else 2)
        return free, FetchLimits(
            large_free,
            self.limits.per_session_total,
            here,
            large_here if here else 0,
            max(0, self.limits.history_room - sum(message.of_history for message in self._held.values())),
            self._downloads() if here else {},
        )

    def busy(self) -> int:
        """How many messages this process holds; as many as it may hold while it fetches more or is about to.

        So previews do not take a thread in the moment between the end of one attachment and the fetch of the next.
        """
        return self.limits.room if self._fetching or self._announced else len(self._held)

    def wake(self) -> None:
        """Announces work: the fetcher fetches as soon as a thread is free."""
        with self._changed:
            self._announced = True
            self._changed.notify_all()

    def wait(self, until: float) -> bool:
        """Waits until a message may be popped or more are wanted; True if more are wanted.

        More are wanted when work was announced, or at the time `until` (monotonic clock). A process whose threads are
        all busy leaves the work to others until it has finished something.
        """
        with self._changed:
            self._fetch_at = until
            self._changed.wait_for(lambda: self._may_pop() or self._wants(), self._patience_s(until))
            if self._may_pop() or not self._wants():
                return False
            self._announced = self._removed = False
            self._fetching = True
            return True

    def _patience_s(self, until: float) -> float:
        remaining = until - time.monotonic()
        if self._free_threads and (self._announced or remaining <= 0):
            return RECHECK_S  # this prefetcher is not notified when a thread becomes free
        return remaining if 0 < remaining < self.limits.poll_s else self.limits.poll_s

    def _notify(self) -> None:
        if self._may_pop() or self._wants():
            self._changed.notify_all()

    def _busy(self) -> int:
        """How many messages have a thread or wait for one."""
        return len(self._held) - len(self._detached)

    def _threads(self, limit: int) -> int:
        """How many messages may run at once, at most `limit`."""
        return min(limit, self._free_threads()) if self._free_threads else limit

    def _is_full(self) -> bool:
        return len(self._detached) >= MAX_DETACHED

    def _downloads(self) -> dict[str, SessionDownloads]:
        """The downloads of each session that run here or wait for a thread."""
        downloads: dict[str, SessionDownloads] = {}
        for key, message in self._held.items():
            if message.queue == DOWNLOADS and key not in self._detached:
                total, large = downloads.get(message.session, SessionDownloads())
                downloads[message.session] = SessionDownloads(total + 1, large + message.large)
        return downloads

    def _pop(self) -> FetchedMessage:
        blocked = []
        while not self._may_run(self._ready[0][1]):
            blocked.append(heapq.heappop(self._ready))
        message = heapq.heappop(self._ready)[1]
        for entry in blocked:
            heapq.heappush(self._ready, entry)
        if message.queue == DOWNLOADS:
            self._downloading[message.key] = message.session
        return message

    def _may_run(self, message: FetchedMessage) -> bool:
        """Whether the session of a download has threads left here."""
        if not self.limits.per_session or message.queue != DOWNLOADS:
            return True
        return sum(session == message.session for session in self._downloading.values()) < self.limits.per_session

    def _may_pop(self) -> bool:
        if not self._ready or self._is_full():
            return False
        if self._busy() - len(self._ready) >= self.limits.threads + self.limits.ahead:
            return False
        return any(self._may_run(message) for _, message in self._ready)

    def _wants(self) -> bool:
        if self._is_full():  # other processes may have threads for what would only wait here
            return False
        wanted = self._announced or time.monotonic() >= self._fetch_at
        busy = self._busy() - sum(not self._may_run(message) for _, message in self._ready)
        idle = busy < self._threads(self.limits.threads)
        return wanted and (idle or (self._removed and busy <= self.limits.low_water))
