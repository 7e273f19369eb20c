"""`/socket.io`: sends every event to the clients that may see it. The protocol is in docs/events.md."""

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
from starlette.requests import HTTPConnection

from actors.observability.sentry import report_error
from esteira.web.auth.access import Authenticator
from esteira.web.live.feed import Event, EventFeed
from esteira.web.live.rooms import Rooms
from esteira.web.live.socket_guard import GUARD_KEY, MAX_BYTES, PacketFilter, SocketGuard
from esteira.web.server.file_limits import max_sockets
from pipeline.config.settings import Settings
from pipeline.errors import Code, PipelineError
from pipeline.metrics import SOCKET_CLIENTS
from pipeline.security.callers import Caller
from pipeline.security.roles import Permission

GAP = "esteira.gap"
NAMESPACE = "/"
CONNECT_TIMEOUT_S = 10.0  # for a client to send its token
CATCH_UP_S = 2.0  # for an event that another process has already sent to arrive here
CHECK_INTERVAL_S = 1.0
MAX_BACKLOG = 2000  # packets that wait for a client to read them
MARGIN = 100  # connections that are being closed and still count
MAX_ID_LENGTH = 100

log = structlog.get_logger(__name__)

# Client input must not reach the log, and what is sent to clients is logged by the queue already.
silent = logging.getLogger("esteira.web.live.socketio")
silent.setLevel(logging.CRITICAL + 1)


@dataclass(frozen=True)
class Client:
    """An authenticated client: its Socket.IO id and its caller."""

    sid: str
    caller: Caller


class LiveEvents:
    """The Socket.IO server of one web process. Clients only authenticate; whatever else they send has no effect."""

    def __init__(self, settings: Settings, authenticator: Authenticator) -> None:
        self._authenticator = authenticator
        self._origins = frozenset(settings.socket_origins)
        self._max_clients = max_sockets(settings.socket_clients)
        self._clients: dict[str, Client] = {}  # by connection id
        self._seen_since: dict[str, float] = {}  # connection id → when it was first seen
        self._tasks: set[asyncio.Task[None]] = set()
        self._rooms = Rooms()
        history = settings.event_history
        self._feed = (
            EventFeed(settings.redis, max_events=history, deliver=self._deliver, on_gap=self._send_gap)
            if history
            else None
        )
        self._server = socketio.AsyncServer(
            async_mode="asgi",
            # All polls of a client must reach the same process.
            transports=["websocket", "polling"] if settings.web_workers == 1 else ["websocket"],
            cors_allowed_origins=self._is_allowed_origin,
            cors_credentials=False,
            max_http_buffer_size=MAX_BYTES,
            async_handlers=False,
            http_compression=False,
            logger=silent,
            engineio_logger=silent,
        )
        self._server.on("connect", self._connect)
        self._server.on("disconnect", self._disconnect)
        self._filter = PacketFilter(socketio.ASGIApp(self._server, socketio_path=None), self._has_room)

    def add_routes(self, app: FastAPI) -> None:
        """Mounts `/socket.io`, unless EVENT_HISTORY is 0."""
        if self._feed is not None:
            app.mount("/socket.io", self._filter)

    async def publish_events(self) -> None:
        """Sends events to the clients until the task is cancelled."""
        if self._feed is None:
            return
        try:
            async with asyncio.TaskGroup() as group:
                group.create_task(_restart_on_error(self._feed.run))
                group.create_task(_restart_on_error(self._check_clients))
        finally:
            await self._feed.close()

    def _is_allowed_origin(self, origin: str, environ: dict[str, Any]) -> bool:
        return origin in self._origins or urlsplit(origin).netloc == environ.get("HTTP_HOST")

    async def _connect(self, sid: str, environ: dict[str, Any], auth: Any = None) -> bool:
        token, since = _credentials(auth)
        try:
            caller = await self._authenticator.caller_of_token(token, HTTPConnection(environ["asgi.scope"]))
            caller.require(Permission.READ)
        except PipelineError as error:
            raise Refused(error.message, {"code": error.code.value}) from None
        eio_sid = self._server.manager.eio_sid_from_sid(sid, NAMESPACE)
        await self._wait_for_event(since)
        if eio_sid not in self._server.environ:  # disconnected meanwhile: Socket.IO would keep it forever
            return False
        assert self._feed is not None
        client = self._clients[eio_sid] = Client(sid, caller)
        self._spawn(self._join(client, self._feed.newest if since is None else since))
        return True

    async def _disconnect(self, sid: str, *_: Any) -> None:
        self._clients.pop(self._server.manager.eio_sid_from_sid(sid, NAMESPACE), None)

    async def _join(self, client: Client, since: str) -> None:
        """Sends a client the events that it missed, and adds it to its room."""
        sid, room = client.sid, self._rooms.open(client.caller.scope)
        while self._server.manager.is_pre_connected(sid, NAMESPACE):  # until the connect is acknowledged
            await asyncio.sleep(0)
        is_complete = await self._catch_up(sid, room, since)
        # Nothing was awaited since the feed was read last: later events go to the room, which the client now joins.
        if self._server.manager.is_connected(sid, NAMESPACE):
            await self._server.enter_room(sid, room)
        if not is_complete:
            await self._server.emit(GAP, {"since": since}, to=sid)

    async def _wait_for_event(self, since: str | None) -> None:
        """Waits until the feed is loaded and knows the event that the client saw last, at most CATCH_UP_S."""
        assert self._feed is not None
        deadline = time.monotonic() + CATCH_UP_S
        while time.monotonic() < deadline:
            if self._feed.ready.is_set() and (since is None or self._feed.since(since) is not None):
                return
            await asyncio.sleep(0.05)

    async def _catch_up(self, sid: str, room: str, since: str) -> bool:
        """Sends all events after `since`, until there are no more. False if `since` is not known."""
        assert self._feed is not None
        while events := self._feed.since(since):
            for event in events:
                if room in self._rooms.rooms_of(event):
                    await self._server.emit(event.type, event.payload, to=sid)
                since = event.event_id
        return events is not None

    async def _deliver(self, event: Event) -> None:
        # Like `emit`, but encodes the event once, and without a task for each client.
        text = packet.Packet(packet.EVENT, namespace=NAMESPACE, data=[event.type, event.payload]).encode()
        message = Message(MESSAGE, text)
        for _, eio_sid in list(self._server.manager.get_participants(NAMESPACE, self._rooms.rooms_of(event))):
            await self._server.eio.send_packet(eio_sid, message)

    async def _send_gap(self) -> None:
        await self._server.emit(GAP, {"since": None})

    def _has_room(self) -> bool:
        """Whether one more client may connect. If all slots are taken, one that is not authenticated is closed."""
        connected = self._server.eio.sockets
        if len(connected) < self._max_clients:
            return True
        unauthenticated = next((eio_sid for eio_sid in connected if eio_sid not in self._clients), None)
        if unauthenticated is not None:
            self._close(unauthenticated)
        return unauthenticated is not None and len(connected) < self._max_clients + MARGIN

    async def _check_clients(self) -> None:
        while True:
            await asyncio.sleep(CHECK_INTERVAL_S)
            connected = dict(self._server.eio.sockets)
            now = time.monotonic()
            self._seen_since = {eio_sid: self._seen_since.get(eio_sid, now) for eio_sid in connected}
            self._clients = {eio_sid: client for eio_sid, client in self._clients.items() if eio_sid in connected}
            self._rooms.keep(client.caller.scope for client in self._clients.values())
            SOCKET_CLIENTS.set(len(self._clients))
            for eio_sid, socket in connected.items():
                await self._check_client(eio_sid, socket.queue.qsize())

    async def _check_client(self, eio_sid: str, backlog: int) -> None:
        client = self._clients.get(eio_sid)
        if client is None:
            if time.monotonic() - self._seen_since[eio_sid] > CONNECT_TIMEOUT_S:
                self._close(eio_sid)
        elif backlog > MAX_BACKLOG:
            log.warning("live events: a client does not read and is disconnected", behind=backlog)
            self._close(eio_sid)
        elif not self._authenticator.access.is_current(client.caller):  # it has expired or was revoked
            await self._server.disconnect(client.sid)

    def _close(self, eio_sid: str) -> None:
        scope = self._server.environ.get(eio_sid, {}).get("asgi.scope", {})
        guard: SocketGuard | None = self._filter.upgraded.get(eio_sid) or scope.get(GUARD_KEY)
        if guard is not None:
            guard.shut()
        else:
            self._spawn(self._end_polling(eio_sid))

    async def _end_polling(self, eio_sid: str) -> None:
        with suppress(TimeoutError):
            async with asyncio.timeout(CHECK_INTERVAL_S):  # `disconnect` waits until the client has read everything
                await self._server.eio.disconnect(eio_sid)

    def _spawn(self, coroutine: Coroutine[Any, Any, None]) -> None:
        task = asyncio.create_task(coroutine)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)


async def _restart_on_error(work: Callable[[], Awaitable[None]]) -> None:
    while True:
        try:
            await work()
        except Exception as error:  # process edge: an event that cannot be handled must not stop the others
            log.exception("live events: unexpected error, restarting")
            report_error(error, {})
            await asyncio.sleep(CHECK_INTERVAL_S)


def _credentials(auth: Any) -> tuple[str, str | None]:
    """The token and the last event id in a client's auth. Raises Refused if the id is malformed."""
    auth = auth if isinstance(auth, dict) else {}
    token, since = auth.get("token"), auth.get("since")
    if since is not None and not (isinstance(since, str) and 0 < len(since) <= MAX_ID_LENGTH):
        raise Refused("since is the id of an event", {"code": Code.BAD_PAYLOAD.value})
    return token if isinstance(token, str) else "", since
