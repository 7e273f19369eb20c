"""Connections that are kept open between requests, and the number of concurrent requests to one host."""

from __future__ import annotations

import threading
import time

from pipeline.config.proxies import Proxy
from pipeline.errors import BusyError, Code
from pipeline.http_client.connection import Connection
from pipeline.http_client.ssrf_guard import Origin

PoolKey = tuple[Origin, bool, Proxy | None]
"""What requests that share a connection have in common: the origin, `Target.trusted` and the proxy."""


class ConnectionPool:
    """Connections that are open and not in use, by their PoolKey. Safe for many threads.

    Holds at most `size` connections, each for at most `idle_s` seconds.
    """

    def __init__(self, *, size: int = 64, idle_s: float = 30) -> None:
        self._size = size
        self._idle_s = idle_s
        self._lock = threading.Lock()
        self._idle: dict[PoolKey, list[Connection]] = {}
        self._count = 0

    def get(self, key: PoolKey) -> Connection | None:
        """Removes and returns a usable connection, or None."""
        while connection := self._remove(key):
            if time.monotonic() - connection.kept_at < self._idle_s and connection.is_usable():
                return connection
            connection.close()
        return None

    def put(self, key: PoolKey, connection: Connection) -> None:
        """Keeps a connection whose last response was read to its end. A full pool closes its least recently used."""
        connection.kept_at = time.monotonic()
        with self._lock:
            connections = self._idle.pop(key, [])
            connections.append(connection)
            self._idle[key] = connections  # the dict is ordered by last use
            self._count += 1
            oldest = next(iter(self._idle)) if self._count > self._size else None
        if oldest and (surplus := self._remove(oldest, index=0)):
            surplus.close()

    def close(self) -> None:
        """Closes every kept connection."""
        with self._lock:
            connections = [connection for idle in self._idle.values() for connection in idle]
            self._idle.clear()
            self._count = 0
        for connection in connections:
            connection.close()

    def _remove(self, key: PoolKey, *, index: int = -1) -> Connection | None:
        with self._lock:
            connections = self._idle.get(key)
            if not connections:
                return None
            self._count -= 1
            connection = connections.pop(index)
            if not connections:
                del self._idle[key]
            return connection


class _Host:
    """The requests to one host that are running, and those that wait for a slot."""

    def __init__(self) -> None:
        self.running = 0
        self.waiting = 0
        self.released: threading.Condition | None = None  # created by the first request that waits


class HostSlots:
    """Limits the concurrent requests to one host to `per_host`; hosts do not delay each other. Thread-safe."""

    def __init__(self, per_host: int) -> None:
        self._per_host = per_host
        self._lock = threading.Lock()
        self._hosts: dict[str, _Host] = {}

    def hold(self, name: str, *, timeout_s: float) -> HostSlot:
        """A context manager that waits for a slot of a host and holds it.

        Raises:
            BusyError: `fetch_busy`, if no slot becomes free in time.
        """
        return HostSlot(self, name, timeout_s)

    def acquire(self, name: str, timeout_s: float) -> None:
        with self._lock:
            host = self._hosts.get(name)
            if not host:
                host = self._hosts[name] = _Host()
            if host.running >= self._per_host and not self._wait(host, timeout_s):
                self._remove_unused(name, host)
                raise BusyError(Code.FETCH_BUSY, f"{self._per_host} files are already being downloaded from {name}")
            host.running += 1

    def release(self, name: str) -> None:
        with self._lock:
            host = self._hosts[name]
            host.running -= 1
            if host.released:
                host.released.notify()
            self._remove_unused(name, host)

    def _wait(self, host: _Host, timeout_s: float) -> bool:
        host.waiting += 1
        host.released = host.released or threading.Condition(self._lock)
        try:
            return host.released.wait_for(lambda: host.running < self._per_host, timeout_s)
        finally:
            host.waiting -= 1

    def _remove_unused(self, name: str, host: _Host) -> None:
        if not (host.running or host.waiting):
            del self._hosts[name]


class HostSlot:
    """One slot of a host, held in a `with` block. A generator would take longer than the slot itself."""

    def __init__(self, slots: HostSlots, name: str, timeout_s: float) -> None:
        self._slots = slots
        self._name = name
        self._timeout_s = timeout_s

    def __enter__(self) -> None:
        self._slots.acquire(self._name, self._timeout_s)

    def __exit__(self, *_: object) -> None:
        self._slots.release(self._name)
