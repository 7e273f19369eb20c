"""The newest events as they stand in Redis, read by each web process for itself: what is told now, and what was missed.

A process reads the stream in its order and keeps what EVENT_HISTORY allows in memory, so who comes back is served
without asking Redis, and no event slips between what is caught up and what is live: both are one list.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Awaitable, Callable
from typing import Any, NamedTuple

import redis
import redis.asyncio
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff

from pipeline.notifiers.live import EVENTS_KEY
from pipeline.outage import Outage

BLOCK_MS = 5000
TIMEOUT_S = 10.0  # more than BLOCK_MS: nothing to tell is no fault
RETRY_S = 0.5
PAGE = 500
START = "0-0"


class Event(NamedTuple):
    """One event: its name, whose it is, and the payload of docs/events.md."""

    event_id: str
    type: str
    session: str
    payload: dict[str, Any]


Deliver = Callable[[Event], Awaitable[None]]
Missed = Callable[[], Awaitable[None]]


class Feed:
    """Reads until it is cancelled; `deliver` is called for each new event, `missed` if some were lost on the way.

    `deliver` must begin to tell its event before it waits for anything: until then it is in nobody's hands.
    """

    def __init__(self, url: str, *, most: int, deliver: Deliver, missed: Missed) -> None:
        self._client: Any = redis.asyncio.Redis.from_url(
            url, socket_timeout=TIMEOUT_S, socket_connect_timeout=TIMEOUT_S, retry=Retry(NoBackoff(), 0)
        )
        self._most = most
        self._deliver = deliver
        self._missed = missed
        self._events: dict[str, Event] = {}
        self._place: str | None = None
        self._outage = Outage("redis (live events)")
        self.ready = asyncio.Event()

    @property
    def newest(self) -> str:
        """The id of the newest event, or nothing where there is none."""
        return next(reversed(self._events), "")

    def since(self, event_id: str) -> list[Event] | None:
        """What came after this event, the oldest first; None if it is not known (any more). After "" comes all."""
        if not event_id:
            return list(self._events.values())
        if event_id not in self._events:
            return None
        ids = list(self._events)
        return [self._events[one] for one in ids[ids.index(event_id) + 1 :]]

    async def run(self) -> None:
        """Reads what comes, for ever; what came during an outage of Redis is read after it."""
        while True:
            try:
                await self._read()
            except (redis.RedisError, OSError) as error:
                self._outage.begin(error)
                await asyncio.sleep(RETRY_S)

    async def close(self) -> None:
        await self._client.aclose()

    async def _read(self) -> None:
        if self._place is None:
            await self._load()
        else:
            await self._look_for_a_new_stream()
        self._outage.end()
        self.ready.set()
        while True:
            found = await self._client.xread({EVENTS_KEY: self._place or START}, count=PAGE, block=BLOCK_MS)
            for place, entry in found[0][1] if found else ():
                await self._take(place.decode(), entry)
            if not found:
                await self._look_for_a_new_stream()

    async def _load(self) -> None:
        """The history that is there when the process begins: known, and nobody's news."""
        for raw_place, entry in await self._client.xrange(EVENTS_KEY):
            self._place = raw_place.decode()
            if (event := _event(entry)) is not None:
                self._keep(event)
        self._place = self._place or START
        if self._outage.is_active:  # some are connected already, who knows since when
            await self._missed()

    async def _look_for_a_new_stream(self) -> None:
        """Begins again where all places lie behind ours: Redis was emptied and its clock set back."""
        newest = await self._client.xrevrange(EVENTS_KEY, count=1)
        if newest and _order(newest[0][0].decode()) < _order(self._place or START):
            self._place = START
            await self._break_off()

    async def _break_off(self) -> None:
        self._events.clear()  # what is asked for from before is not all there
        await self._missed()

    async def _take(self, place: str, entry: dict[bytes, bytes]) -> None:
        unbroken = entry.get(b"before", b"").decode() == (self._place if self._place != START else "")
        self._place = place
        if not unbroken:
            await self._break_off()
        for event_id in entry.get(b"forget", b"").decode().split(","):
            self._events.pop(event_id, None)
        event = _event(entry)
        if event is not None and event.event_id not in self._events:
            self._keep(event)
            await self._deliver(event)

    def _keep(self, event: Event) -> None:
        self._events[event.event_id] = event
        while len(self._events) > self._most:
            del self._events[next(iter(self._events))]


def _event(entry: dict[bytes, bytes]) -> Event | None:
    """None for what is no event of ours: whoever can write into Redis writes what he likes."""
    try:
        payload = json.loads(entry[b"event"])
        event = Event(payload["event_id"], payload["type"], payload["session"], payload)
    except (KeyError, TypeError, ValueError):
        return None
    return event if all(isinstance(one, str) for one in event[:3]) else None


def _order(place: str) -> tuple[int, int]:
    milliseconds, _, number = place.partition("-")
    return int(milliseconds), int(number)
