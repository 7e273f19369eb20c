"""uvicorn's protocol for WebSockets with limits on the frames that a peer sends, and on the time to close."""

from __future__ import annotations

import asyncio
from typing import Any

from uvicorn.protocols.websockets.websockets_sansio_impl import WebSocketsSansIOProtocol

from esteira.web.server.faulty_requests import request_logger

FLUSH_S = 10.0  # for the peer to read what it was sent before its socket is closed
PARSED_AT_ONCE = 1024  # bytes, in which there may be 170 frames
MAX_FRAMES = 300  # from one peer in WINDOW_S; a page of the dashboard sends a few in a second
WINDOW_S = 10.0


class LimitedSocketProtocol(WebSocketsSansIOProtocol):
    """A WebSocket that logs no address, and is closed even if its peer does not read what was sent.

    A frame takes up to 100 µs, and all frames that arrive together are parsed at once: empty ones of one peer stopped
    all other requests for seconds. A peer that sends too many loses its connection.
    """

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.logger = self.conn.logger = request_logger("uvicorn.sockets")  # the address's query may hold secrets
        self._frames = 0
        self._window_began = self.loop.time()

    def data_received(self, data: bytes) -> None:
        for start in range(0, len(data), PARSED_AT_ONCE):
            if self.transport.is_closing():
                return
            super().data_received(data[start : start + PARSED_AT_ONCE])

    def handle_events(self) -> None:
        self._count(len(self.conn.events))
        super().handle_events()

    def on_task_complete(self, task: asyncio.Task[None]) -> None:
        super().on_task_complete(task)
        self.loop.call_later(FLUSH_S, self.transport.abort)

    def _count(self, frames: int) -> None:
        now = self.loop.time()
        if now - self._window_began > WINDOW_S:
            self._frames, self._window_began = 0, now
        self._frames += frames
        if self._frames > MAX_FRAMES:
            self.transport.abort()
