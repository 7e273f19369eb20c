"""Filters what clients send to `/socket.io`, before Socket.IO sees it. Clients only send their token and signs of life.

All other packets are dropped before they reach a parser or a log. A client that sends too much, or does not read what
it is sent, loses its own connection and no other.
"""

from __future__ import annotations

import asyncio
import json
import re
from collections.abc import Callable, MutableMapping
from contextlib import suppress
from typing import Any
from urllib.parse import parse_qs

import structlog
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from esteira.web.server.connections import mark_unverified

MAX_BYTES = 16 * 1024  # of a packet; a token is far shorter
READ_TIMEOUT_S = 10.0  # for the body of a poll
SEND_TIMEOUT_S = 20.0  # for a client to read what it was sent, once its buffers are full
MAX_PACKETS = 100  # from one client in RATE_WINDOW_S; a well-behaved one answers a ping every 25 s
RATE_WINDOW_S = 60.0
GUARD_KEY = "esteira.guard"  # in the ASGI scope of a socket
SEPARATOR = "\x1e"  # between the packets of a poll
ALLOWED = re.compile(r"[13]|2probe|5|40(/[^,{]{0,100},)?({.*})?|41(/[^,{]{0,100},?)?", re.DOTALL)
FULL = {"type": "http.response.start", "status": 503, "headers": [(b"retry-after", b"5"), (b"content-length", b"0")]}
TOO_LARGE = {**FULL, "status": 413}

log = structlog.get_logger(__name__)


def is_allowed(packet: object) -> bool:
    """Whether a client may send this packet: a connect with its token, a disconnect, or the transport's pings."""
    if not isinstance(packet, str) or len(packet) > MAX_BYTES or not ALLOWED.fullmatch(packet):
        return False
    start = packet.find("{")
    try:
        return start < 0 or isinstance(json.loads(packet[start:]), dict)
    except (ValueError, RecursionError):
        return False


class SocketGuard:
    """One socket between the server and Socket.IO. After `shut`, both sides treat the connection as lost."""

    def __init__(self, receive: Receive, send: Send) -> None:
        self._receive = receive
        self._send = send
        self._clock = asyncio.get_running_loop().time
        self._timeouts: set[asyncio.Timeout] = set()
        self._shut = False
        self._packets = 0
        self._window_began = self._clock()

    def shut(self) -> None:
        """Ends the connection at once, also for tasks that are waiting for the client."""
        self._shut = True
        for timeout in self._timeouts:
            if not timeout.expired():
                timeout.reschedule(self._clock())

    async def receive(self) -> Message:
        """The next allowed packet; a disconnect if the client sends too many packets."""
        while not self._shut:
            try:
                message: Message = await self._within(None, self._receive())
            except TimeoutError:
                break
            if message["type"] != "websocket.receive":
                return message
            if self._exceeds_rate():
                self.shut()
            elif is_allowed(message.get("text")):
                return message
        return {"type": "websocket.disconnect", "code": 1008}

    async def send(self, message: Message) -> None:
        """Raises OSError if the connection is shut, or if its client reads nothing for SEND_TIMEOUT_S."""
        if self._shut:
            raise ConnectionError("shut")
        try:
            await self._within(SEND_TIMEOUT_S, self._send(message))
        except TimeoutError:
            self.shut()
            raise

    async def _within(self, seconds: float | None, awaitable: Any) -> Any:
        async with asyncio.timeout(seconds) as timeout:
            self._timeouts.add(timeout)
            try:
                return await awaitable
            finally:
                self._timeouts.discard(timeout)

    def _exceeds_rate(self) -> bool:
        if self._clock() - self._window_began > RATE_WINDOW_S:
            self._packets, self._window_began = 0, self._clock()
        self._packets += 1
        return self._packets > MAX_PACKETS


class PacketFilter:
    """The ASGI app in front of Socket.IO's. `has_room` is called before each new client.

    A socket's guard is in its ASGI scope under GUARD_KEY. That of a client that began with polling is in `upgraded`, by
    the client's id.
    """

    def __init__(self, app: ASGIApp, has_room: Callable[[], bool]) -> None:
        self._app = app
        self._has_room = has_room
        self.upgraded: dict[str, SocketGuard] = {}

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        query = parse_qs(scope.get("query_string", b"").decode("latin-1"))
        sid = query.get("sid", [None])[0]
        if sid is None and not self._has_room():
            await _refuse(scope, receive, send)
        elif scope["type"] == "websocket":
            await self._handle_socket(scope, SocketGuard(receive, send), sid)
        else:
            with mark_unverified(scope):  # also one with a token can connect again
                await (self._handle_poll if scope.get("method") == "POST" else self._app)(scope, receive, send)

    async def _handle_socket(self, scope: MutableMapping[str, Any], guard: SocketGuard, sid: str | None) -> None:
        if sid is not None:
            self.upgraded[sid] = guard
        scope[GUARD_KEY] = guard
        try:
            await self._app(scope, guard.receive, guard.send)
        except (OSError, ValueError) as error:  # engine.io raises these when a connection breaks
            log.debug("socket broke", error=type(error).__name__)
        finally:
            guard.shut()
            if sid is not None and self.upgraded.get(sid) is guard:
                del self.upgraded[sid]

    async def _handle_poll(self, scope: Scope, receive: Receive, send: Send) -> None:
        body = await _read_body(receive)
        if body is None:
            await send(TOO_LARGE)
            await send({"type": "http.response.body", "body": b""})
            return
        packets = body.decode(errors="replace").split(SEPARATOR)
        allowed = SEPARATOR.join(packet for packet in packets if is_allowed(packet)).encode()
        headers = [(name, value) for name, value in scope["headers"] if name != b"content-length"]
        headers.append((b"content-length", str(len(allowed)).encode()))

        async def receive_allowed() -> Message:
            return {"type": "http.request", "body": allowed, "more_body": False}

        await self._app({**scope, "headers": headers}, receive_allowed, send)


async def _read_body(receive: Receive) -> bytes | None:
    """The body of a poll; None if it is too long, or does not arrive in time."""
    body = b""
    with suppress(TimeoutError):
        async with asyncio.timeout(READ_TIMEOUT_S):
            while len(body) <= MAX_BYTES:
                message = await receive()
                body += message.get("body", b"")
                if message["type"] != "http.request" or not message.get("more_body"):
                    return body if len(body) <= MAX_BYTES else None
    return None


async def _refuse(scope: Scope, receive: Receive, send: Send) -> None:
    if scope["type"] == "websocket":
        await receive()
        await send({"type": "websocket.close", "code": 1013})
        return
    await send(FULL)
    await send({"type": "http.response.body", "body": b""})
