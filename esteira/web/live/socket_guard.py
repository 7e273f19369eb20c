"""What comes in at `/socket.io`, before Socket.IO sees it: clients here have nothing to say but who they are.

Whatever else they send is dropped on the wire, so it reaches neither a parser nor a log; who sends too much, or does
not read what it is sent, loses its connection and nobody else's.
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

MAX_BYTES = 16 * 1024  # a token is far shorter
READ_S = 10.0  # for the body of a poll
SEND_S = 20.0  # for a client to read what it was sent, once its buffers are full
MOST_SAID = 100  # in so many seconds; a well-behaved client answers a ping every 25
SAID_S = 60.0
BETWEEN = "\x1e"  # the packets of a poll
SAYABLE = re.compile(r"[13]|2probe|5|40(/[^,{]{0,100},)?({.*})?|41(/[^,{]{0,100},?)?", re.DOTALL)
FULL = {"type": "http.response.start", "status": 503, "headers": [(b"retry-after", b"5"), (b"content-length", b"0")]}
REFUSED = {**FULL, "status": 413}

log = structlog.get_logger(__name__)


def is_allowed(packet: object) -> bool:
    """Whether a client may say this: a connect with its token, a disconnect, the signs of life of the transport."""
    if not isinstance(packet, str) or len(packet) > MAX_BYTES or not SAYABLE.fullmatch(packet):
        return False
    begin = packet.find("{")
    try:
        return begin < 0 or isinstance(json.loads(packet[begin:]), dict)
    except (ValueError, RecursionError):
        return False


class SocketGuard:
    """One socket's connection between the server and Socket.IO. Once it is shut, both sides take it for gone."""

    def __init__(self, receive: Receive, send: Send) -> None:
        self._receive = receive
        self._send = send
        self._clock = asyncio.get_running_loop().time
        self._waits: set[asyncio.Timeout] = set()
        self._shut = False
        self._said = 0
        self._said_since = self._clock()

    def shut(self) -> None:
        """Ends it at once, also for whoever waits for its client just now."""
        self._shut = True
        for wait in self._waits:
            if not wait.expired():  # its time may have come just now
                wait.reschedule(self._clock())

    async def receive(self) -> Message:
        """The next thing that a client may say; that it is gone, if it says too much."""
        while not self._shut:
            try:
                message: Message = await self._within(None, self._receive())
            except TimeoutError:
                break
            if message["type"] != "websocket.receive":
                return message
            if self._says_too_much():
                self.shut()
            elif is_allowed(message.get("text")):
                return message
        return {"type": "websocket.disconnect", "code": 1008}

    async def send(self, message: Message) -> None:
        """Raises OSError if the connection is shut, or its client has read nothing for SEND_S."""
        if self._shut:
            raise ConnectionError("shut")
        try:
            await self._within(SEND_S, self._send(message))
        except TimeoutError:
            self.shut()
            raise

    async def _within(self, seconds: float | None, what: Any) -> Any:
        async with asyncio.timeout(seconds) as wait:
            self._waits.add(wait)
            try:
                return await what
            finally:
                self._waits.discard(wait)

    def _says_too_much(self) -> bool:
        if self._clock() - self._said_since > SAID_S:
            self._said, self._said_since = 0, self._clock()
        self._said += 1
        return self._said > MOST_SAID


class PacketFilter:
    """The app in front of Socket.IO's. `room` is asked before each new client whether there is place for it.

    An environ of Socket.IO's has its scope, and the scope its Door under `esteira.door`; a client that began by polling
    is in `upgraded` by its id.
    """

    def __init__(self, app: ASGIApp, room: Callable[[], bool]) -> None:
        self._app = app
        self._room = room
        self.upgraded: dict[str, SocketGuard] = {}

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        asked = parse_qs(scope.get("query_string", b"").decode("latin-1"))
        sid = asked.get("sid", [None])[0]
        if sid is None and not self._room():
            await _refuse(scope, receive, send)
        elif scope["type"] == "websocket":
            await self._open(scope, SocketGuard(receive, send), sid)
        elif scope.get("method") == "POST":
            await self._post(scope, receive, send)
        else:
            await self._app(scope, receive, send)

    async def _open(self, scope: MutableMapping[str, Any], door: SocketGuard, sid: str | None) -> None:
        if sid is not None:
            self.upgraded[sid] = door
        scope["esteira.door"] = door
        try:
            await self._app(scope, door.receive, door.send)
        except (OSError, ValueError) as error:  # what engine.io makes of a connection that breaks in the midst
            log.debug("socket broke", error=type(error).__name__)
        finally:
            door.shut()
            if sid is not None and self.upgraded.get(sid) is door:
                del self.upgraded[sid]

    async def _post(self, scope: Scope, receive: Receive, send: Send) -> None:
        body = await _body(receive)
        if body is None:
            await send(REFUSED)
            await send({"type": "http.response.body", "body": b""})
            return
        said = BETWEEN.join(packet for packet in body.decode(errors="replace").split(BETWEEN) if is_allowed(packet))
        kept = said.encode()
        headers = [(name, value) for name, value in scope["headers"] if name != b"content-length"]
        headers.append((b"content-length", str(len(kept)).encode()))

        async def replay() -> Message:
            return {"type": "http.request", "body": kept, "more_body": False}

        await self._app({**scope, "headers": headers}, replay, send)


async def _body(receive: Receive) -> bytes | None:
    """A poll's body, or None if it is too long, or too long in coming."""
    body = b""
    with suppress(TimeoutError):
        async with asyncio.timeout(READ_S):
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
