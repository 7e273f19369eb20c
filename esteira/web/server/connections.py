"""uvicorn's protocols with limits on the time for a request head and on the number of connections.

Bodies have their own limits (see esteira.web.intake.bodies), and so have sockets (see esteira.web.live.socket_guard).
"""

from __future__ import annotations

import asyncio
import logging
from typing import Any

import h11
from uvicorn.protocols.http.h11_impl import H11Protocol
from uvicorn.protocols.websockets.websockets_sansio_impl import WebSocketsSansIOProtocol

from esteira.web.server.file_limits import max_connections

HEAD_TIMEOUT_S = 10.0
SOCKET_FLUSH_S = 10.0  # for the peer to read what it was sent before its socket is closed


class LimitedHttpProtocol(H11Protocol):
    """An HTTP connection that is closed if a request head does not arrive in time.

    When there are too many connections, a new one replaces the one that has been idle for longest.
    """

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._max_connections = max_connections()
        self._active_at = self.loop.time()
        self._head_timer: asyncio.TimerHandle | None = None
        self._upgraded = False

    @property
    def idle(self) -> bool:
        """Whether no request is being processed."""
        return self.cycle is None or self.cycle.response_complete

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        self._start_head_timer()
        if len(self.connections) > self._max_connections:
            self._close_longest_idle()

    def data_received(self, data: bytes) -> None:
        cycle = self.cycle
        super().data_received(data)
        if self.cycle is not cycle:
            self._stop_head_timer()
            self._active_at = self.loop.time()
        elif self.idle and not self._upgraded:  # an incomplete head, or a body after its response
            self._start_head_timer()

    def connection_lost(self, exc: Exception | None) -> None:
        self._stop_head_timer()
        super().connection_lost(exc)

    def handle_websocket_upgrade(self, event: h11.Request) -> None:
        super().handle_websocket_upgrade(event)
        self._upgraded = True  # another protocol handles the connection from now on
        self._stop_head_timer()

    def close_if_idle(self) -> None:
        """Closes the connection unless a request is being processed."""
        if self.idle:
            self.transport.abort()

    def _close_longest_idle(self) -> None:
        http = [other for other in self.connections if isinstance(other, LimitedHttpProtocol)]
        if len(http) <= self._max_connections:  # the others are sockets, which have a limit of their own
            return
        # The new connection is idle too: it is closed itself if all others are busy.
        oldest = min((other for other in http if other.idle), key=lambda other: other._active_at)
        self.connections.discard(oldest)  # at once: more connections may arrive before `connection_lost`
        oldest.transport.abort()

    def _start_head_timer(self) -> None:
        if self._head_timer is None:
            self._head_timer = self.loop.call_later(HEAD_TIMEOUT_S, self.close_if_idle)

    def _stop_head_timer(self) -> None:
        if self._head_timer is not None:
            self._head_timer.cancel()
            self._head_timer = None


class LimitedSocketProtocol(WebSocketsSansIOProtocol):
    """A WebSocket that logs no address, and is closed even if its peer does not read what was sent."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.logger = self.conn.logger = logging.getLogger("uvicorn.sockets")  # the address's query may hold secrets

    def on_task_complete(self, task: asyncio.Task[None]) -> None:
        super().on_task_complete(task)
        self.loop.call_later(SOCKET_FLUSH_S, self.transport.abort)
