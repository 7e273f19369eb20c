"""Connections that do not hold a process up: uvicorn's, with a limit on how long a request's head may take and on how
many there are. Bodies have limits of their own (see esteira.web.intake.bodies), and so have sockets
(see esteira.web.live.socket_guard).
"""

from __future__ import annotations

import asyncio
import logging
import resource
from typing import Any

import h11
import structlog
from uvicorn.protocols.http.h11_impl import H11Protocol
from uvicorn.protocols.websockets.websockets_sansio_impl import WebSocketsSansIOProtocol

HEAD_TIMEOUT_S = 10.0
MAX_CONNECTIONS = 1000
TELL_EVERY_S = 10.0
FLUSH_S = 10.0  # for what a socket's other end has not read when its connection ends
WANTED_FILES = 8192

log = structlog.get_logger(__name__)


def max_connections() -> int:
    """How many a process holds open: half of its file descriptors at most, for the other half has work to do."""
    limit, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    return MAX_CONNECTIONS if limit == resource.RLIM_INFINITY else max(1, min(MAX_CONNECTIONS, limit // 2))


def max_sockets(wanted: int) -> int:
    """How many of so many sockets a process holds open beside them: a quarter of its file descriptors at most."""
    limit, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    return wanted if limit == resource.RLIM_INFINITY else max(1, min(wanted, limit // 4))


def raise_file_limit() -> None:
    """Takes as many file descriptors as a thousand sockets need, if this process may."""
    limit, may = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = WANTED_FILES if may == resource.RLIM_INFINITY else min(WANTED_FILES, may)
    if limit != resource.RLIM_INFINITY and limit < wanted:
        resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, may))


class LimitedHttpProtocol(H11Protocol):
    """A connection that ends when it has not sent a whole head in time; beyond the limit the one that idles longest
    makes room for a new one.
    """

    def __init__(self, *args: Any, **named: Any) -> None:
        super().__init__(*args, **named)
        self._most = max_connections()
        self._since = self.loop.time()
        self._patience: asyncio.TimerHandle | None = None
        self._became_socket = False

    @property
    def idle(self) -> bool:
        """Whether no request is under way."""
        return self.cycle is None or self.cycle.response_complete

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        self._await_head()
        if len(self.connections) > self._most:
            self._make_room()

    def data_received(self, data: bytes) -> None:
        before = self.cycle
        super().data_received(data)
        if self.cycle is not before:
            self._stop_waiting()
            self._since = self.loop.time()
        elif self.idle and not self._became_socket:  # a head that comes bit by bit, or a body that nobody wants
            self._await_head()

    def connection_lost(self, exc: Exception | None) -> None:
        self._stop_waiting()
        super().connection_lost(exc)

    def handle_websocket_upgrade(self, event: h11.Request) -> None:
        super().handle_websocket_upgrade(event)
        self._became_socket = True  # the connection is another protocol's from now on
        self._stop_waiting()

    def close_if_idle(self) -> None:
        """Ends the connection unless a request is under way."""
        if self.idle:
            self.transport.abort()

    def _make_room(self) -> None:
        requesting = [other for other in self.connections if isinstance(other, LimitedHttpProtocol)]
        if len(requesting) <= self._most:  # the others are sockets, which are counted where they are let in
            return
        idle = [other for other in requesting if other.idle]
        # Itself is among them: when all others are at work, there is no room for it.
        oldest = min(idle, key=lambda other: other._since)
        self.connections.discard(oldest)  # now, for many may come before its loss is told
        oldest.transport.abort()

    def _await_head(self) -> None:
        if self._patience is None:
            self._patience = self.loop.call_later(HEAD_TIMEOUT_S, self.close_if_idle)

    def _stop_waiting(self) -> None:
        if self._patience is not None:
            self._patience.cancel()
            self._patience = None


class LimitedSocketProtocol(WebSocketsSansIOProtocol):
    """A socket that says nothing of its address, and whose end does not wait for ever for what nobody reads."""

    def __init__(self, *args: Any, **named: Any) -> None:
        super().__init__(*args, **named)
        self.logger = self.conn.logger = logging.getLogger("uvicorn.sockets")  # its queries may hold what others know

    def on_task_complete(self, task: asyncio.Task[None]) -> None:
        super().on_task_complete(task)
        self.loop.call_later(FLUSH_S, self.transport.abort)


class LoopExceptionHandler:
    """What a loop does with errors that nobody catches: asyncio's own way, but for a want of file descriptors.

    Of that, asyncio complains for every connection that it might have accepted, as many as the backlog holds: to log
    each would keep the process from its work for longer than the want lasts.
    """

    def __init__(self) -> None:
        self._told_at = float("-inf")

    def __call__(self, loop: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
        if "out of system resource" not in context["message"]:
            loop.default_exception_handler(context)
        elif loop.time() - self._told_at >= TELL_EVERY_S:
            self._told_at = loop.time()
            log.error(
                "no connection can be accepted", error=type(context.get("exception")).__name__, remedy="ulimit -n"
            )
