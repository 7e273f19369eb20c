"""Locators say which server a new connection goes to. Each client has its own, and its connections share it."""

from __future__ import annotations

import time
from abc import ABC, abstractmethod
from collections.abc import Callable
from typing import Any

import redis
from redis.exceptions import MovedError

from pipeline.config.redis_urls import Node, RedisUrl

# Each sentinel that is asked gets this share of the time that is left, so that one that is away leaves some to others.
SHARE = 0.5


class Locator(ABC):
    """The server that a client uses now. Thread-safe: attributes are replaced, never changed."""

    needs_primary = False  # whether a new connection has to check that its server is the primary

    def __init__(self) -> None:
        self._last: Node | None = None
        self._listeners: tuple[Callable[[], object], ...] = ()

    def on_move(self, listener: Callable[[], object]) -> None:
        """Calls `listener` whenever the server is another one than before."""
        self._listeners = (*self._listeners, listener)

    def locate(self) -> Node:
        """The server to connect to.

        Raises:
            redis.ConnectionError: it is unknown now.
        """
        node = self._find()
        last, self._last = self._last, node
        if last not in (None, node):
            self._moved_from_last()
        return node

    def _moved_from_last(self) -> None:
        for listener in self._listeners:
            listener()

    @abstractmethod
    def _find(self) -> Node:
        """The server, as known now."""

    @abstractmethod
    def failed(self, node: Node) -> None:
        """Notes that a server cannot be reached, or is not what it should be."""

    def require_primary(self, role: bytes | str, node: Node) -> None:
        """Returns if a server's answer to ROLE says that it is a primary.

        Raises:
            redis.ConnectionError: it is a replica, which a failover has made of it.
        """
        if role not in (b"master", "master"):
            self.failed(node)
            raise redis.ConnectionError(f"{node} is not the primary any more")

    def redirect(self, error: Exception) -> None:
        """Notes that a server has refused a command: another one, or a new connection, may take it."""
        if isinstance(error, MovedError):
            self._moved(error.host, error.port)
        elif self._last:
            self.failed(self._last)

    @abstractmethod
    def _moved(self, host: str, port: int) -> None:
        """Notes which node of a cluster has the queue's slot now; without a host it is that of the last server."""


class NodeLocator(Locator):
    """One server, or some nodes of a cluster. MOVED says which node has the queue's slot.

    If a node cannot be reached, the next one of the URL is asked.
    """

    def __init__(self, nodes: tuple[Node, ...]) -> None:
        super().__init__()
        self._nodes = nodes
        self._current = nodes[0]

    def _find(self) -> Node:
        return self._current

    def failed(self, node: Node) -> None:
        if node != self._current:  # another thread has noted it
            return
        if node == self._nodes[0]:
            self._nodes = (*self._nodes[1:], node)
        self._current = self._nodes[0]

    def _moved(self, host: str, port: int) -> None:
        self._current = Node(host or self._current.host, port)


class SentinelLocator(Locator):
    """The primary of a service, as the sentinels know it. While none of them answers, the last one that is known."""

    needs_primary = True

    def __init__(self, url: RedisUrl, make_connection: Callable[[Node, float], Any], *, timeout_s: float) -> None:
        """`make_connection` makes a connection to a sentinel with a timeout in seconds; they answer in `timeout_s`."""
        super().__init__()
        self._service = url.service
        self._sentinels = url.nodes
        self._make_connection = make_connection
        self._timeout_s = timeout_s
        self._known: Node | None = None

    def _find(self) -> Node:
        deadline = time.monotonic() + self._timeout_s
        faults: list[str] = []
        for sentinel in self._sentinels:
            try:
                answer = self._ask(sentinel, max(0.01, (deadline - time.monotonic()) * SHARE))
            except (redis.RedisError, OSError) as error:
                faults.append(f"{sentinel} does not answer ({type(error).__name__})")
                continue
            if answer is not None:
                self._known = answer
                self._sentinels = (sentinel, *(other for other in self._sentinels if other != sentinel))
                return answer
            faults.append(f"{sentinel} does not know it")
        if self._known is None:
            raise redis.ConnectionError(f"no sentinel names the primary of {self._service}: {'; '.join(faults)}")
        return self._known

    def failed(self, node: Node) -> None:
        if node == self._known:
            first, *others = self._sentinels
            self._sentinels = (*others, first)  # another one may know of a newer primary

    def _moved(self, host: str, port: int) -> None:
        self.failed(Node(host, port))  # what sentinels watch is no cluster

    def _ask(self, sentinel: Node, timeout_s: float) -> Node | None:
        connection = self._make_connection(sentinel, timeout_s)
        try:
            connection.connect()
            connection.send_command("SENTINEL", "GET-MASTER-ADDR-BY-NAME", self._service)
            answer = connection.read_response()
        finally:
            connection.disconnect()
        return Node(_text(answer[0]), int(answer[1])) if answer else None


def _text(value: bytes | str) -> str:
    return value.decode() if isinstance(value, bytes) else value
