"""`/socket.io`: every ending, told to the clients that may hear of it. The protocol is in docs/events.md."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable, Coroutine
from contextlib import suppress
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

import socketio
import structlog
from engineio.packet import MESSAGE
from engineio.packet import Packet as Message
from fastapi import FastAPI
from socketio import packet
from socketio.exceptions import ConnectionRefusedError as Refused

from actors.observability.sentry import report_error
from esteira.web.auth.access import Authenticator, Caller
from esteira.web.live.feed import Event, Feed
from esteira.web.live.socket_guard import MAX_BYTES, PacketFilter, SocketGuard
from esteira.web.server.connections import max_sockets
from pipeline.config.settings import Settings
from pipeline.errors import Code
from pipeline.gateways import UnauthorizedError
from pipeline.metrics import SOCKET_CLIENTS

EVERYTHING = "everything"  # the room of those who show the API_TOKEN; a session's is "session:" and its name
GAP = "esteira.gap"
SPACE = "/"
CONNECT_S = 10.0  # for a client to say who it is
CATCH_UP_S = 2.0  # for an event that another process has told to arrive here
LOOK_EVERY_S = 1.0
MOST_BEHIND = 2000  # packets that wait for a client to read them
MARGIN = 100  # connections that have been told to make room and are not gone yet
LONGEST_ID = 100

log = structlog.get_logger(__name__)

# What clients send is told to nobody, and what is sent to them is in the log of the belt already.
silent = logging.getLogger("esteira.web.live.socketio")
silent.setLevel(logging.CRITICAL + 1)


@dataclass(frozen=True)
class Listener:
    """A client that was let in: its id, who it is, and until when in Unix seconds."""

    sid: str
    caller: Caller
    expires: int | None


class Live:
    """The Socket.IO server of one web process. Nothing that a client sends does anything but let it in."""

    def __init__(self, settings: Settings, authenticator: Authenticator) -> None:
        self._authenticator = authenticator
        self._origins = frozenset(settings.socket_origins)
        self._most = max_sockets(settings.socket_clients)
        self._listeners: dict[str, Listener] = {}  # by the id of its connection
        self._came: dict[str, float] = {}
        self._tasks: set[asyncio.Task[None]] = set()
        most = settings.event_history
        self._feed = Feed(settings.redis, most=most, deliver=self._deliver, missed=self._tell_gap) if most else None
        self._server = socketio.AsyncServer(
            async_mode="asgi",
            # A poll has to find the process that began it.
            transports=["websocket", "polling"] if settings.web_workers == 1 else ["websocket"],
            cors_allowed_origins=self._is_own,
            cors_credentials=False,
            max_http_buffer_size=MAX_BYTES,
            async_handlers=False,
            http_compression=False,
            logger=silent,
            engineio_logger=silent,
        )
        self._server.on("connect", self._connect)
        self._server.on("disconnect", self._disconnect)
        self._doors = PacketFilter(socketio.ASGIApp(self._server, socketio_path=None), self._has_room)

    def add_routes(self, app: FastAPI) -> None:
        """Nothing with EVENT_HISTORY=0."""
        if self._feed is not None:
            app.mount("/socket.io", self._doors)

    async def publish_events(self) -> None:
        """Tells what happens until it is cancelled."""
        if self._feed is None:
            return
        try:
            async with asyncio.TaskGroup() as group:
                group.create_task(_kept_up(self._feed.run))
                group.create_task(_kept_up(self._keep_order))
        finally:
            await self._feed.close()

    def _is_own(self, origin: str, environ: dict[str, Any]) -> bool:
        return origin in self._origins or urlsplit(origin).netloc == environ.get("HTTP_HOST")

    async def _connect(self, sid: str, _environ: dict[str, Any], auth: Any = None) -> bool:
        token, since = _shown(auth)
        try:
            caller, expires = self._authenticator.authenticate_token(token)
        except UnauthorizedError:
            raise Refused("the API_TOKEN or a session's token is needed", {"code": Code.UNAUTHORIZED.value}) from None
        eio_sid = self._server.manager.eio_sid_from_sid(sid, SPACE)
        await self._wait_for(since)
        if eio_sid not in self._server.environ:  # gone meanwhile, and Socket.IO would keep it for ever
            return False
        assert self._feed is not None
        self._listeners[eio_sid] = Listener(sid, caller, expires)
        self._spawn(self._welcome(self._listeners[eio_sid], self._feed.newest if since is None else since))
        return True

    async def _disconnect(self, sid: str, *_: Any) -> None:
        self._listeners.pop(self._server.manager.eio_sid_from_sid(sid, SPACE), None)

    async def _welcome(self, listener: Listener, since: str) -> None:
        """Tells a client what it has missed, and lets it into its room."""
        sid, room = listener.sid, _room(listener.caller)
        while self._server.manager.is_pre_connected(sid, SPACE):  # until it has been told that it is let in
            await asyncio.sleep(0)
        known = await self._catch_up(sid, room, since)
        # Nothing was awaited since the last look at the feed: what it held is told, what it will read goes to the room.
        if self._server.manager.is_connected(sid, SPACE):
            await self._server.enter_room(sid, room)
        if not known:
            await self._server.emit(GAP, {"since": since}, to=sid)

    async def _wait_for(self, since: str | None) -> None:
        """Waits a moment for the feed to begin, and for an event that another process has told before us."""
        assert self._feed is not None
        deadline = time.monotonic() + CATCH_UP_S
        while time.monotonic() < deadline:
            if self._feed.ready.is_set() and (since is None or self._feed.since(since) is not None):
                return
            await asyncio.sleep(0.05)

    async def _catch_up(self, sid: str, room: str, since: str) -> bool:
        """Tells what came after an event until nothing is left; False if that cannot be known."""
        assert self._feed is not None
        while events := self._feed.since(since):
            for event in events:
                if room in _rooms(event):
                    await self._server.emit(event.type, event.payload, to=sid)
                since = event.event_id
        return events is not None

    async def _deliver(self, event: Event) -> None:
        # As `emit` does it, but without a task for each client.
        text = packet.Packet(packet.EVENT, namespace=SPACE, data=[event.type, event.payload]).encode()
        sent = Message(MESSAGE, text)
        for _, eio_sid in list(self._server.manager.get_participants(SPACE, _rooms(event))):
            await self._server.eio.send_packet(eio_sid, sent)

    async def _tell_gap(self) -> None:
        await self._server.emit(GAP, {"since": None})

    def _has_room(self) -> bool:
        """Whether one more may connect; if all places are taken, whoever has not said who it is makes room."""
        connected = self._server.eio.sockets
        if len(connected) < self._most:
            return True
        stranger = next((eio_sid for eio_sid in connected if eio_sid not in self._listeners), None)
        if stranger is not None:
            self._cut(stranger)
        return stranger is not None and len(connected) < self._most + MARGIN

    async def _keep_order(self) -> None:
        while True:
            await asyncio.sleep(LOOK_EVERY_S)
            connected = dict(self._server.eio.sockets)
            now = time.monotonic()
            self._came = {eio_sid: self._came.get(eio_sid, now) for eio_sid in connected}
            self._listeners = {eio_sid: one for eio_sid, one in self._listeners.items() if eio_sid in connected}
            SOCKET_CLIENTS.set(len(self._listeners))
            for eio_sid, socket in connected.items():
                await self._look_at(eio_sid, socket.queue.qsize())

    async def _look_at(self, eio_sid: str, behind: int) -> None:
        listener = self._listeners.get(eio_sid)
        if listener is None:
            if time.monotonic() - self._came[eio_sid] > CONNECT_S:
                self._cut(eio_sid)
        elif behind > MOST_BEHIND:
            log.warning("live events: a client that does not read is cut off", behind=behind)
            self._cut(eio_sid)
        elif listener.expires is not None and time.time() >= listener.expires:
            await self._server.disconnect(listener.sid)

    def _cut(self, eio_sid: str) -> None:
        scope = self._server.environ.get(eio_sid, {}).get("asgi.scope", {})
        door: SocketGuard | None = self._doors.upgraded.get(eio_sid) or scope.get("esteira.door")
        if door is not None:
            door.shut()
        else:
            self._spawn(self._end_polling(eio_sid))

    async def _end_polling(self, eio_sid: str) -> None:
        with suppress(TimeoutError):
            async with asyncio.timeout(LOOK_EVERY_S):  # it waits for the client to take what there is for it
                await self._server.eio.disconnect(eio_sid)

    def _spawn(self, work: Coroutine[Any, Any, None]) -> None:
        task = asyncio.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)


async def _kept_up(work: Callable[[], Awaitable[None]]) -> None:
    while True:
        try:
            await work()
        except Exception as error:  # the process's edge: one event that we stumble over must not silence all others
            log.exception("live events stumbled")
            report_error(error, {})
            await asyncio.sleep(LOOK_EVERY_S)


def _shown(auth: Any) -> tuple[str, str | None]:
    """The token and the last event's id of a client's auth; raises Refused for anything else."""
    auth = auth if isinstance(auth, dict) else {}
    token, since = auth.get("token"), auth.get("since")
    if since is not None and not (isinstance(since, str) and 0 < len(since) <= LONGEST_ID):
        raise Refused("since is the id of an event", {"code": Code.BAD_PAYLOAD.value})
    return token if isinstance(token, str) else "", since


def _room(caller: Caller) -> str:
    return EVERYTHING if caller.session is None else f"session:{caller.session}"


def _rooms(event: Event) -> list[str]:
    return [EVERYTHING, f"session:{event.session}"]
