"""What requests share: connections that are kept open, and the number of requests to one host."""

from __future__ import annotations

import threading
import time

from pipeline.errors import BusyError, Code
from pipeline.http_client.connection import Connection
from pipeline.http_client.ssrf_guard import Origin

HostSlot = tuple[Origin, bool]  # and whether it is trusted: nobody else may use such a connection


class Pool:
    """Connections that are kept open between requests, by place; safe for many threads."""

    def __init__(self, *, size: int = 64, idle_s: float = 30) -> None:
        self._size = size
        self._idle_s = idle_s
        self._lock = threading.Lock()
        self._kept: dict[HostSlot, list[Connection]] = {}
        self._count = 0

    def take(self, place: HostSlot) -> Connection | None:
        """An open connection that nobody else uses, or None."""
        while connection := self._pop(place):
            if time.monotonic() - connection.kept_at < self._idle_s and connection.is_usable():
                return connection
            connection.close()
        return None

    def give(self, place: HostSlot, connection: Connection) -> None:
        """Keeps a connection whose last answer was read to its end. Beyond the size, the one unused longest goes."""
        connection.kept_at = time.monotonic()
        with self._lock:
            connections = self._kept.pop(place, [])
            connections.append(connection)
            self._kept[place] = connections  # behind those of other places
            self._count += 1
            oldest = next(iter(self._kept)) if self._count > self._size else None
        if oldest and (surplus := self._pop(oldest, index=0)):
            surplus.close()

    def _pop(self, place: HostSlot, *, index: int = -1) -> Connection | None:
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
            connection.close()


class _Host:
    """The requests to one host under way, and those that wait for them."""

    def __init__(self) -> None:
        self.busy = 0
        self.waiting = 0
        self.freed: threading.Condition | None = None  # made by the first that waits


class Slots:
    """At most so many requests to one host at a time; other hosts are not held up."""

    def __init__(self, per_host: int) -> None:
        self._per_host = per_host
        self._lock = threading.Lock()
        self._hosts: dict[str, _Host] = {}

    def hold(self, name: str, *, timeout_s: float) -> _Turn:
        """For a `with` block, which waits for a turn at a host and keeps it.

        Raises:
            BusyError: `fetch_busy`, if there is none in time.
        """
        return _Turn(self, name, timeout_s)

    def enter(self, name: str, timeout_s: float) -> None:
        with self._lock:
            host = self._hosts.get(name)
            if not host:
                host = self._hosts[name] = _Host()
            if host.busy >= self._per_host and not self._wait(host, timeout_s):
                self._forget(name, host)
                raise BusyError(Code.FETCH_BUSY, f"{self._per_host} files are being fetched from {name}")
            host.busy += 1

    def leave(self, name: str) -> None:
        with self._lock:
            host = self._hosts[name]
            host.busy -= 1
            if host.freed:
                host.freed.notify()
            self._forget(name, host)

    def _wait(self, host: _Host, timeout_s: float) -> bool:
        host.waiting += 1
        host.freed = host.freed or threading.Condition(self._lock)
        try:
            return host.freed.wait_for(lambda: host.busy < self._per_host, timeout_s)
        finally:
            host.waiting -= 1

    def _forget(self, name: str, host: _Host) -> None:
        if not (host.busy or host.waiting):
            del self._hosts[name]


class _Turn:
    # A class, for a generator would cost more than the turn itself.
    def __init__(self, slots: Slots, name: str, timeout_s: float) -> None:
        self._slots = slots
        self._name = name
        self._timeout_s = timeout_s

    def __enter__(self) -> None:
        self._slots.enter(self._name, self._timeout_s)

    def __exit__(self, *_: object) -> None:
        self._slots.leave(self._name)
