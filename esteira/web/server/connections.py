"""uvicorn's protocols with limits on the time for a request head, on unread answers and on the number of connections.

When there are too many connections, the one that is worth least is closed, so that strangers who keep connections open
do not keep out the requests of others. Bodies have their own limits (see esteira.web.intake.bodies), and so do sockets
(see esteira.web.live.socket_guard).
"""

from __future__ import annotations

import asyncio
import heapq
from collections import Counter
from collections.abc import Iterator, MutableMapping
from contextlib import AbstractContextManager, contextmanager
from enum import IntEnum
from typing import Any, ClassVar

import h11
from starlette.types import Message, Receive, Scope, Send
from uvicorn.protocols.http.flow_control import CLOSE_HEADER
from uvicorn.protocols.http.h11_impl import H11Protocol

from esteira.web.server.client_addresses import ClientAddresses, group_of
from esteira.web.server.faulty_requests import request_logger
from esteira.web.server.file_limits import backlog, max_connections
from esteira.web.server.parser import LimitedParser
from esteira.web.server.transport import WatchedTransport
from pipeline.config.settings import current_settings

HEAD_TIMEOUT_S = 10.0
ENDING_S = 0.5  # in which an idle connection may bring another request when the server ends; a new one has NEW_S
NEW_S = 1.0  # in which a new connection is not closed for others: its head is on the way
MAX_HEAD_BYTES = 16 * 1024
MAX_HEADERS = 100
SHARE_OF_ADDRESS = 0.75  # of the connections; the rest is for others
CLOSED_AT_ONCE = 50  # one in so many of the allowed connections, when there are too many
CONNECTION_KEY = "esteira.connection"  # in the ASGI scope of a request


class Worth(IntEnum):
    """What a connection is worth when there are too many: the first one is closed first."""

    REFUSED = 1  # its request is answered; the rest of the body is dropped
    IDLE = 2  # no request is being processed
    UNVERIFIED = 3  # the sender of a body that is being received is not known
    UNREAD = 4  # the answer waits for its reader
    ARRIVING = 5  # the body of a known sender has been arriving for longer than NEW_S
    WORKING = 6  # a request is being processed: it is not closed


class LimitedHttpProtocol(H11Protocol):
    """An HTTP connection that is closed if its request head does not arrive, or its answer is not read, in time."""

    per_address: ClassVar[Counter[str]] = Counter()  # open connections of this process

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.conn = LimitedParser(MAX_HEAD_BYTES)
        settings = current_settings()
        self.logger = request_logger("uvicorn.requests")
        self.watched: WatchedTransport | None = None
        self.is_unverified = False
        self.is_receiving = False
        self.is_shutting_down = False
        self.address = ""  # the peer's, empty for a trusted proxy's
        self.active_at = self.loop.time()
        self._stall_s = settings.download_stall_s
        self._proxies = ClientAddresses(settings.trusted_proxies)
        self._head_timer: asyncio.TimerHandle | None = None
        self._max_connections = max_connections()
        self._upgraded = False
        self._counted = False
        self._has_had_request = False

    @property
    def app(self) -> Any:
        """The app that uvicorn runs for each request."""
        return self._run_app

    @app.setter
    def app(self, app: Any) -> None:
        self._app = app

    @property
    def idle(self) -> bool:
        """Whether no request is being processed."""
        return self.cycle is None or self.cycle.response_complete

    @property
    def worth(self) -> Worth:
        if self.watched is None or self.watched.is_lingering:
            return Worth.REFUSED
        if self.idle:
            return Worth.IDLE
        if self.is_unverified:
            return Worth.UNVERIFIED
        if self.watched.unread_bytes:
            return Worth.UNREAD
        is_slow = self.is_receiving and self.loop.time() - self.active_at >= NEW_S
        return Worth.ARRIVING if is_slow else Worth.WORKING

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        self.watched = WatchedTransport(
            transport, self.loop, stall_s=self._stall_s, has_unread_body=self._has_unread_body
        )
        super().connection_made(self.watched)
        host = self.client[0] if self.client else ""
        self.address = "" if self._proxies.is_trusted(host) else group_of(host)
        self.per_address[self.address] += 1
        self._counted = True
        self._start_head_timer()
        self._make_room()
        if getattr(self.server_state, "is_ending", False):  # it was accepted just before
            self.shutdown()

    def data_received(self, data: bytes) -> None:
        if self.watched is not None and self.watched.is_lingering:
            return
        cycle = self.cycle
        # h11 limits only heads that are incomplete: a longer one must not arrive as a whole.
        while self.idle and len(data) > MAX_HEAD_BYTES and not self.transport.is_closing():
            super().data_received(data[:MAX_HEAD_BYTES])
            data = data[MAX_HEAD_BYTES:]
        if not self.transport.is_closing():
            super().data_received(data)
        if self.cycle is not cycle:
            self._has_had_request = True
            self._stop_head_timer()
            self.active_at = self.loop.time()
            if self.is_shutting_down and self.cycle is not None:
                self.cycle.keep_alive = False
        elif self.idle and not self._upgraded:  # an incomplete head, or a body after its response
            self._start_head_timer()

    def connection_lost(self, exc: Exception | None) -> None:
        self._stop_head_timer()
        self._forget_address()
        if self.watched is not None:
            self.watched.release()
        super().connection_lost(exc)

    def shutdown(self) -> None:
        """Called when the server ends: running requests are to answer soon.

        A request that is on its way is answered with `Connection: close`. Later ones meet a closed connection.
        """
        self.is_shutting_down = True
        if self.idle:
            self.loop.call_later(ENDING_S if self._has_had_request else NEW_S, self._close_at_end)
        else:
            super().shutdown()

    def _close_at_end(self) -> None:
        if self.idle and not self._upgraded and not self.transport.is_closing():
            super().shutdown()

    def handle_websocket_upgrade(self, event: h11.Request) -> None:
        super().handle_websocket_upgrade(event)
        self._upgraded = True  # another protocol handles the connection from now on
        self._forget_address()
        self._stop_head_timer()
        if self.is_shutting_down:
            self.loop.call_later(ENDING_S, self._close_socket)

    def _close_socket(self) -> None:
        if not self.transport.is_closing():
            websocket: Any = self.transport.get_protocol()
            websocket.shutdown()

    def send_400_response(self, msg: str) -> None:
        """Answers what is no valid HTTP. The app, if it is reading the body, sees that its client is gone."""
        if self.cycle is not None and not self.cycle.response_complete:
            self.cycle.disconnected = True
            self.cycle.message_event.set()
        if self.conn.our_state in {h11.IDLE, h11.SEND_RESPONSE}:
            super().send_400_response(msg)
        else:  # an answer has begun
            self.transport.abort()

    def close_if_idle(self) -> None:
        """Closes the connection unless a request is being processed."""
        if self.idle:
            self.transport.abort()

    async def _run_app(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Runs the app for one request. An answer to a body that was not read ends the connection."""
        cycle = self.cycle
        scope[CONNECTION_KEY] = self

        async def send_and_close(message: Message) -> None:
            ends = cycle.more_body or not cycle.keep_alive
            if ends and message["type"] == "http.response.start":
                headers = [header for header in message.get("headers", ()) if header[0].lower() != b"connection"]
                message = {**message, "headers": [*headers, CLOSE_HEADER]}
            await send(message)

        if len(scope["headers"]) > MAX_HEADERS:
            await _refuse_head(send_and_close)
        else:
            await self._app(scope, receive, send_and_close)

    def _has_unread_body(self) -> bool:
        return self.conn.their_state is h11.ERROR or (self.cycle is not None and self.cycle.more_body)

    def _make_room(self) -> None:
        """Closes other connections if there are too many, or too many of this address; this one if none can be."""
        of_address = max(1, int(self._max_connections * SHARE_OF_ADDRESS))
        if self.address and self.per_address[self.address] > of_address:
            self._close_least(self.address)
        elif len(self.connections) > self._max_connections:
            self._close_least(None)

    def _close_least(self, address: str | None) -> None:
        others = [
            other
            for other in self.connections
            if isinstance(other, LimitedHttpProtocol) and other is not self and address in {None, other.address}
        ]
        if address is None and len(others) < self._max_connections:  # sockets have a limit of their own
            return
        ranked = [(other._rank(), other) for other in others if not other._is_new()]
        if not ranked and len(others) < self._max_connections + backlog():  # a burst: their heads are being read
            return
        # Several at once, because it takes a millisecond to look at a thousand connections.
        count = max(1, self._max_connections // CLOSED_AT_ONCE)
        least = [
            other
            for rank, other in heapq.nsmallest(count, ranked, key=lambda pair: pair[0])
            if rank[0] is not Worth.WORKING
        ]
        for connection in least or [self]:
            connection._give_up()

    def _is_new(self) -> bool:
        return not self._has_had_request and self.loop.time() - self.active_at < NEW_S

    def _rank(self) -> tuple[Worth, int, float]:
        # Of equal ones, that of the address with the most connections, which is likely the one to blame.
        return self.worth, -self.per_address[self.address], self.active_at

    def _give_up(self) -> None:
        self.connections.discard(self)  # at once: more connections may arrive before `connection_lost`
        self._forget_address()
        self.transport.abort()

    def _forget_address(self) -> None:
        if self._counted:
            self._counted = False
            self.per_address[self.address] -= 1
            if not self.per_address[self.address]:
                del self.per_address[self.address]

    def _start_head_timer(self) -> None:
        if self._head_timer is None:
            self._head_timer = self.loop.call_later(HEAD_TIMEOUT_S, self.close_if_idle)

    def _stop_head_timer(self) -> None:
        if self._head_timer is not None:
            self._head_timer.cancel()
            self._head_timer = None


def mark_receiving(scope: MutableMapping[str, Any]) -> AbstractContextManager[None]:
    """Marks the connection of a request whose body is being received: it may be closed if there are too many."""
    return _marked(scope, "is_receiving")


def mark_unverified(scope: MutableMapping[str, Any]) -> AbstractContextManager[None]:
    """Marks the connection of a request whose sender is not known: it is closed first if there are too many."""
    return _marked(scope, "is_unverified")


@contextmanager
def _marked(scope: MutableMapping[str, Any], mark: str) -> Iterator[None]:
    connection = scope.get(CONNECTION_KEY)  # none in tests without this server
    if connection is None:
        yield
        return
    setattr(connection, mark, True)
    try:
        yield
    finally:
        setattr(connection, mark, False)


async def _refuse_head(send: Send) -> None:
    body = f'{{"error":{{"code":"too_large","message":"the request has more than {MAX_HEADERS} headers"}}}}'.encode()
    headers = [(b"content-type", b"application/json"), (b"content-length", str(len(body)).encode()), CLOSE_HEADER]
    await send({"type": "http.response.start", "status": 431, "headers": headers})
    await send({"type": "http.response.body", "body": body})
