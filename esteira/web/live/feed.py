"""Reads the newest events from a Redis stream, in each web process: events to send now, and events that clients missed.

A process reads the stream in order and keeps EVENT_HISTORY events in memory. A client that reconnects is served from
there without a call to Redis, and misses nothing in between, because replayed and new events come from the same list.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Awaitable, Callable
from typing import Any, NamedTuple

import redis

from pipeline.notifiers.live import EVENTS_KEY
from pipeline.outage import Outage
from pipeline.redis_client.for_asyncio import connect_async

BLOCK_MS = 5000  # how long a read waits for new events
TIMEOUT_S = 10.0  # more than BLOCK_MS: a read without new events is no error
RETRY_S = 0.5
PAGE = 500
START = "0-0"  # before the first entry of a stream


class Event(NamedTuple):
    """An event: its id and name, the session it belongs to, its gateway, and the payload of docs/events.md.

    Events of older versions name no gateway: "".
    """

    event_id: str
    type: str
    session: str
    gateway: str
    payload: dict[str, Any]


Deliver = Callable[[Event], Awaitable[None]]
OnGap = Callable[[], Awaitable[None]]


class EventFeed:
    """Reads events until it is cancelled. Calls `deliver` for each new event, and `on_gap` if events were lost.

    `deliver` must start to send its event before it awaits anything else: clients that join read `since` meanwhile.
    """

    def __init__(self, url: str, *, max_events: int, deliver: Deliver, on_gap: OnGap) -> None:
        self._client: Any = connect_async(url, timeout_s=TIMEOUT_S)
        self._max_events = max_events
        self._deliver = deliver
        self._on_gap = on_gap
        self._events: dict[str, Event] = {}
        self._position: str | None = None  # the id of the newest stream entry that was read
        self._outage = Outage("redis (live events)")
        self.ready = asyncio.Event()

    @property
    def newest(self) -> str:
        """The id of the newest event; "" if there is none."""
        return next(reversed(self._events), "")

    def since(self, event_id: str) -> list[Event] | None:
        """The events after this one, oldest first; None if it is not known. After "": all events."""
        if not event_id:
            return list(self._events.values())
        if event_id not in self._events:
            return None
        ids = list(self._events)
        return [self._events[newer] for newer in ids[ids.index(event_id) + 1 :]]

    async def run(self) -> None:
        """Reads forever. Events from an outage of Redis are read after it."""
        while True:
            try:
                await self._read()
            except (redis.RedisError, OSError) as error:
                self._outage.begin(error)
                await asyncio.sleep(RETRY_S)

    async def close(self) -> None:
        await self._client.aclose()

    async def _read(self) -> None:
        if self._position is None:
            await self._load()
        else:
            await self._check_for_new_stream()
        self._outage.end()
        self.ready.set()
        while True:
            streams = await self._client.xread({EVENTS_KEY: self._position or START}, count=PAGE, block=BLOCK_MS)
            for entry_id, entry in streams[0][1] if streams else ():
                await self._handle_entry(entry_id.decode(), entry)
            if not streams:
                await self._check_for_new_stream()

    async def _load(self) -> None:
        """Reads the history at the start of the process. These events are only for clients that reconnect."""
        for entry_id, entry in await self._client.xrange(EVENTS_KEY):
            self._position = entry_id.decode()
            if (event := _parse_event(entry)) is not None:
                self._keep(event)
        self._position = self._position or START
        if self._outage.is_active:  # clients are connected already, and it is not known what they missed
            await self._on_gap()

    async def _check_for_new_stream(self) -> None:
        """Starts over if the newest entry is older than the position: Redis was emptied and its clock set back."""
        newest = await self._client.xrevrange(EVENTS_KEY, count=1)
        if newest and _order(newest[0][0].decode()) < _order(self._position or START):
            self._position = START
            await self._report_gap()

    async def _report_gap(self) -> None:
        self._events.clear()  # the events before the gap are no longer complete
        await self._on_gap()

    async def _handle_entry(self, entry_id: str, entry: dict[bytes, bytes]) -> None:
        contiguous = entry.get(b"before", b"").decode() == (self._position if self._position != START else "")
        self._position = entry_id
        if not contiguous:
            await self._report_gap()
        for event_id in entry.get(b"forget", b"").decode().split(","):
            self._events.pop(event_id, None)
        event = _parse_event(entry)
        if event is not None and event.event_id not in self._events:
            self._keep(event)
            await self._deliver(event)

    def _keep(self, event: Event) -> None:
        self._events[event.event_id] = event
        while len(self._events) > self._max_events:
            del self._events[next(iter(self._events))]


def _parse_event(entry: dict[bytes, bytes]) -> Event | None:
    """The event of a stream entry; None if the entry is malformed, as other programs can write to Redis too."""
    try:
        payload = json.loads(entry[b"event"])
        event = Event(payload["event_id"], payload["type"], payload["session"], payload.get("gateway", ""), payload)
    except (KeyError, TypeError, ValueError):
        return None
    return event if all(isinstance(field, str) for field in event[:4]) else None


def _order(entry_id: str) -> tuple[int, int]:
    milliseconds, _, number = entry_id.partition("-")
    return int(milliseconds), int(number)
