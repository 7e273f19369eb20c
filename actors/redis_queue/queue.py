"""The belt in Redis: one Python method for each Lua script, and nothing else.

Every script is idempotent, so a call whose answer was lost may be made again.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Sequence
from dataclasses import replace
from functools import cached_property, lru_cache
from importlib import resources
from typing import Any, NamedTuple

import redis
from redis.backoff import NoBackoff
from redis.retry import Retry

from actors.redis_queue.finished_jobs import FinishedJobList
from actors.redis_queue.keys import PREVIEW_QUEUE, Keys
from actors.redis_queue.locks import Locks
from actors.redis_queue.queue_stats import QueueStats
from actors.redis_queue.scheduling import SchedulingInfo, SizeClasses
from actors.redis_queue.script_runner import Call, Scripts, Word
from pipeline.config.settings import Settings, current_settings
from pipeline.models import Stage

QUICK_TIMEOUT_S = 0.25  # what a listener waits at most
WORKER_TIMEOUT_S = 5.0

SCRIPTS = ("missing", "begin", "beat")
MOVES = (
    "offer",
    "fetch",
    "held",
    "finish",
    "reap",
    "flush",
    "audit",
    "pauses",
    "drop",
)  # those that lanes.lua stands in front of
UNTOLD = -2  # see fetch.lua
LOOKED_AT = 2000  # see drop.lua: a millisecond or two
SAID_FOR_MS = 60_000  # how long the last words of a worker are kept that was killed
ANYWHERE = SchedulingInfo()  # of a message that nobody says more of


def connect(url: str, *, timeout_s: float) -> redis.Redis:
    """A client that gives up after `timeout_s` and never repeats a command by itself."""
    return redis.Redis.from_url(
        url,
        socket_timeout=timeout_s,
        socket_connect_timeout=timeout_s,
        retry=Retry(NoBackoff(), 0),
        health_check_interval=0,
    )


class FetchedMessage(NamedTuple):
    """A message that a fetch handed over; `data` is as it was sent. Of several the one with the lowest turn is next."""

    key: str
    delivery_id: int
    crashes: int
    queue: str
    data: bytes
    large: bool
    priority: int
    session: str = ""


class PauseStateUnknownError(Exception):
    """Raised when this Redis does not know what is paused, as after a wipe: nothing is handed out before it does."""


class EnqueueRequest(NamedTuple):
    """A message that is to be put on the belt beside, unless its key is there already."""

    key: str
    queue: str
    message: bytes
    scheduling: SchedulingInfo = ANYWHERE
    delay_ms: int = 0


class AckAction(NamedTuple):
    """What finish does: `verdict` is one of next, later, back, done, dead (see finish.lua)."""

    verdict: str
    queue: str
    message: bytes = b""
    delay_ms: int = 0


class Ack(NamedTuple):
    """What finish does with one delivery; `note` is its entry on a shelf of the ledger.

    `offer` goes onto the belt beside in the same round trip. It may get lost where the verdict does not.
    """

    key: str
    delivery_id: int
    action: AckAction
    finished_job: tuple[FinishedJobList, str] | None = None
    preview_job: EnqueueRequest | None = None


class RedisQueue:
    """The scripts on one client.

    Raises, from every method: `redis.RedisError`, while Redis is away, starting, full or read-only.
    """

    def __init__(
        self,
        client: redis.Redis,
        *,
        queues: Sequence[str],
        keys: Keys | None = None,
        size_classes: SizeClasses | None = None,
    ) -> None:
        self.client = client
        self.queues = tuple(queues)
        self.keys = keys or Keys()
        self.size_classes = size_classes or SizeClasses()
        self._common_keys = self.keys.of_all
        self._common_args = (",".join(self.queues), self.keys.channel, self.keys.prefix)
        self.scripts = Scripts(client, _texts())

    def enqueue(
        self, key: str, queue: str, message: bytes, *, scheduling: SchedulingInfo = ANYWHERE, delay_ms: int = 0
    ) -> bool:
        """Puts a message on the belt; False if its key is on it already."""
        return bool(
            self._move("offer", [], self._enqueue_args([EnqueueRequest(key, queue, message, scheduling, delay_ms)]))
        )

    def find_missing(self, keys: Sequence[str]) -> list[str]:
        """Which of these keys are not on the belt."""
        return [key.decode() for key in self.scripts.call("missing", [self.keys.messages], keys)] if keys else []

    def fetch(
        self,
        worker: str,
        count: int,
        queues: Sequence[str],
        *,
        large: int | None = None,
        require_pause_state: bool = False,
    ) -> tuple[float | None, list[FetchedMessage]]:
        """Up to `count` messages for a worker, at most `large` of them of large files (None: as many as there are).

        Also returns the seconds until the next delayed message is due, or None.

        Raises:
            UntoldError: with `require_pause_state`, if it is unknown what is paused.
        """
        at_most = count if large is None else large
        keys = [self.keys.workers, self.keys.held(worker)]
        due_ms, *handed = self._move("fetch", keys, [worker, count, at_most, int(require_pause_state), *queues])
        if due_ms == UNTOLD:
            raise PauseStateUnknownError
        return (due_ms / 1000 if due_ms >= 0 else None), [_handed(row) for row in handed]

    def held_messages(self, worker: str) -> list[FetchedMessage]:
        """Everything that a worker holds."""
        return [_handed(row) for row in self._move("held", [self.keys.held(worker)], [])]

    def mark_started(self, worker: str, key: str, delivery_id: int) -> bool:
        """Notes that a message with crashes against its name is begun; False if the delivery is not held any more."""
        return bool(self.scripts.call("begin", [self.keys.held(worker)], [_name(key), delivery_id]))

    @cached_property
    def preview_queue(self) -> RedisQueue:
        """The belt beside this one, for what nothing waits for; see actors.broker.preview_consumer."""
        beside = RedisQueue(
            self.client,
            queues=[PREVIEW_QUEUE],
            keys=replace(self.keys, beside=f"{PREVIEW_QUEUE}:"),
            size_classes=self.size_classes,
        )
        beside.scripts = self.scripts
        return beside

    def ack(
        self,
        worker: str,
        key: str,
        delivery_id: int,
        action: AckAction,
        *,
        finished_job: tuple[FinishedJobList, str] | None = None,
        preview_job: EnqueueRequest | None = None,
    ) -> bool:
        """Carries out a verdict; False if the delivery was not held any more. See `ack_many`."""
        return self.ack_many(worker, [Ack(key, delivery_id, action, finished_job, preview_job)])[0]

    def ack_many(self, worker: str, endings: Sequence[Ack]) -> list[bool]:
        """Carries out verdicts, each with its ledger's entry, in one round trip; for each whether it was held still.

        Each is carried out whole or not at all. Where this raises, they may all be sent again: what was carried out is
        not held any more, and nothing happens to it.
        """
        if not endings:
            return []
        shelves = {note[0].name: note[0] for note in (ending.finished_job for ending in endings) if note}
        numbers = {name: number for number, name in enumerate(shelves, 1)}
        keys = [self.keys.held(worker)]
        args: list[Word] = [len(shelves)]
        for name, shelf in shelves.items():
            keys += (self.keys.finished_index(name), self.keys.finished_entries(name))
            args += shelf.limits
        for key, delivery_id, step, note, _ in endings:
            shelf_and_entry = (numbers[note[0].name], note[1]) if note else (0, "")
            args += (_name(key), delivery_id, step.verdict, step.message, step.delay_ms, step.queue, *shelf_and_entry)
        calls = [self._call("finish", keys, args)]
        if offers := [ending.preview_job for ending in endings if ending.preview_job]:
            calls.append(self.preview_queue._call("offer", [], self.preview_queue._enqueue_args(offers)))
        done, *_ = self.scripts.call_all(calls)
        if isinstance(done, redis.RedisError):
            raise done
        return [bool(held) for held in done]

    def flush(self, queue: str) -> None:
        """Drops what waits in a queue."""
        self._move("flush", [], [queue])

    def heartbeat(self, worker: str, *, silence_ms: int, info: str = "") -> list[str]:
        """One heartbeat, with what the worker says of itself; those that were silent for longer than `silence_ms`."""
        keys = [self.keys.workers, self.keys.worker_info(worker)]
        return [name.decode() for name in self.scripts.call("beat", keys, [worker, silence_ms, info, SAID_FOR_MS])]

    def reap(self, worker: str, *, silence_ms: int, crash: bool) -> int:
        """Takes back what a dead worker held; how many messages, or -1 if it lives or is gone already."""
        keys = [self.keys.workers, self.keys.held(worker)]
        return int(self._move("reap", keys, [worker, silence_ms, int(crash), self.queues[0]]))

    def audit(self) -> int:
        """Drops what waits if parts of the belt are gone that Redis has thrown away; heeds a clock that was set back.

        How many messages the sweep has to put back; -1 if it cannot be told just now.
        """
        workers = [name.decode() for name in self._range(self.keys.workers)]
        keys = [self.keys.workers, self.keys.clock, *map(self.keys.held, workers)]
        return int(self._move("audit", keys, workers))

    def _move(self, name: str, keys: Sequence[str], args: Sequence[Word]) -> Any:
        return self.scripts.call(*self._call(name, keys, args))

    def _call(self, name: str, keys: Sequence[str], args: Sequence[Word]) -> Call:
        return Call(name, [*self._common_keys, *keys], [*self._common_args, *args])

    def remove(self, key: str) -> bool:
        """Takes a message off the belt, unless a worker holds it or far too many of its session wait around it."""
        return bool(self._move("drop", [], [_name(key), LOOKED_AT]))

    def pauses_version(self) -> str:
        """How often this Redis was told what is paused, as `publish_pauses` wants it; "" if never."""
        told: Any = self.client.hget(self.keys.paused, "told")
        return told.decode() if told else ""

    def publish_pauses(self, pauses: Iterable[tuple[str, str, int]], *, version: str) -> bool:
        """Tells it all that is paused (kind, name, since). Those who run and who sleep are called if that is news.

        `version` is what `pauses_version` returned before the pauses were read. False if it has changed since.
        """
        given = [word for kind, name, since in pauses for word in (f"{kind}:{name}", since)]
        return bool(self._move("pauses", [], [version, *given]))

    def _enqueue_args(self, offers: Sequence[EnqueueRequest]) -> list[Word]:
        return [
            word
            for offer in offers
            for word in (
                offer.key,
                offer.message,
                self.size_classes.text(offer.scheduling),
                offer.delay_ms,
                offer.queue,
            )
        ]

    @cached_property
    def stats(self) -> QueueStats:
        """Counts of messages, sessions and workers."""
        return QueueStats(self.client, self.keys, self.queues)

    @cached_property
    def locks(self) -> Locks:
        """Locks with a time to live, shared by all processes."""
        return Locks(self.client, self.keys)

    def _range(self, name: str) -> list[bytes]:
        found: Any = self.client.zrange(name, 0, -1)
        return list(found)

    def finished_jobs(self, name: str) -> list[bytes]:
        """The entries of a shelf of the ledger, newest first."""
        ids: Any = self.client.zrevrange(self.keys.finished_index(name), 0, -1)
        entries: Any = self.client.hmget(self.keys.finished_entries(name), ids) if ids else []
        return [found for found in entries if found is not None]


def open_queue(settings: Settings, *, timeout_s: float = WORKER_TIMEOUT_S) -> RedisQueue:
    """The belt for whoever looks at it or puts something on it without being a worker."""
    queues = [stage.value for stage in Stage]
    return RedisQueue(
        connect(settings.redis, timeout_s=timeout_s), queues=queues, size_classes=SizeClasses.of(settings)
    )


def shared_queue() -> RedisQueue:
    """This process's belt, made at first use. A forked child makes its own."""
    return _belt_of(os.getpid())


@lru_cache(maxsize=1)
def _belt_of(_pid: int) -> RedisQueue:
    return open_queue(current_settings())


@lru_cache(maxsize=1)
def _texts() -> dict[str, str]:
    return {name: _script(name) for name in SCRIPTS} | {name: _script("lanes") + _script(name) for name in MOVES}


def _script(name: str) -> str:
    return (resources.files("actors.redis_queue") / "lua" / f"{name}.lua").read_text()


def _handed(row: list[Any]) -> FetchedMessage:
    key, delivery_id, crashes, queue, data, lane, turn, session = row
    numbers = {"delivery_id": int(delivery_id), "crashes": int(crashes), "priority": int(turn)}
    return FetchedMessage(
        _text(key), queue=queue.decode(), data=data, large=bool(lane), session=_text(session), **numbers
    )


def _name(key: str) -> bytes:
    """A message's key as it stands in Redis: garbage in a queue must be nameable, to be thrown out."""
    return key.encode("utf-8", "surrogateescape")


def _text(name: bytes) -> str:
    return name.decode("utf-8", "surrogateescape")
