"""What requests share: connections that are kept open, and the number of requests to one host."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from pipeline.errors import BusyError, Code
from pipeline.outbound.connection import Connection
from pipeline.outbound.guard import Origin

Place = tuple[Origin, bool]  # and whether it is trusted: nobody else may use such a connection


class Pool:
    """Connections that are kept open between requests, by place; safe for many threads."""

    def __init__(self, *, size: int = 64, idle_s: float = 30) -> None:
        self._size = size
        self._idle_s = idle_s
        self._lock = threading.Lock()
        self._kept: dict[Place, list[Connection]] = {}
        self._count = 0

    def take(self, place: Place) -> Connection | None:
        """An open connection that nobody else uses, or None."""
        while connection := self._pop(place):
            if time.monotonic() - connection.kept_at < self._idle_s and connection.is_usable():
                return connection
            connection.shut()
        return None

    def give(self, place: Place, connection: Connection) -> None:
        """Keeps a connection whose last answer was read to its end. Beyond the size, the one unused longest goes."""
        connection.kept_at = time.monotonic()
        surplus = None
        with self._lock:
            self._kept[place] = [*self._kept.pop(place, []), connection]
            self._count += 1
            oldest = next(iter(self._kept))
        if self._count > self._size:
            surplus = self._pop(oldest, index=0)
        if surplus:
            surplus.shut()

    def _pop(self, place: Place, *, index: int = -1) -> Connection | None:
        with self._lock:
            connections = self._kept.get(place)
            if not connections:
                return None
            self._count -= 1
            connection = connections.pop(index)
            if not connections:
                del self._kept[place]
            return connection

    def close(self) -> None:
        """Closes every kept connection."""
        with self._lock:
            connections = [connection for kept in self._kept.values() for connection in kept]
            self._kept.clear()
            self._count = 0
        for connection in connections:
            connection.shut()


@dataclass
class _Host:
    free: threading.Semaphore
    users: int = 0


class Slots:
    """At most so many requests to one host at a time; other hosts are not held up."""

    def __init__(self, per_host: int) -> None:
        self._per_host = per_host
        self._lock = threading.Lock()
        self._hosts: dict[str, _Host] = {}

    @contextmanager
    def hold(self, name: str, *, timeout_s: float) -> Iterator[None]:
        """Waits for a turn at a host and keeps it for the block.

        Raises:
            BusyError: `fetch_busy`, if there is none in time.
        """
        with self._lock:
            host = self._hosts.setdefault(name, _Host(threading.Semaphore(self._per_host)))
            host.users += 1
        try:
            if not host.free.acquire(timeout=max(timeout_s, 0)):
                raise BusyError(Code.FETCH_BUSY, f"{self._per_host} files are being fetched from {name}")
            try:
                yield
            finally:
                host.free.release()
        finally:
            self._leave(name, host)

    def _leave(self, name: str, host: _Host) -> None:
        with self._lock:
            host.users -= 1
            if not host.users:
                del self._hosts[name]
