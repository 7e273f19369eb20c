"""What nothing waits for: errands on a belt of their own, done with the time that no attachment needs.

The belt is the same one with other keys beside the first. So the five stages, whose scripts look over everything that
waits, know nothing of errands, nor do workers of a version before them.
"""

from __future__ import annotations

import re
import threading
import time
from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, Any

import dramatiq
import redis
import structlog
from dramatiq.broker import Consumer, MessageProxy
from dramatiq.errors import ConnectionClosed, DecodeError

from actors.redis_queue.keys import PREVIEW_QUEUE
from actors.redis_queue.queue import AckAction, FetchedMessage, RedisQueue

if TYPE_CHECKING:
    from actors.broker.broker import EsteiraBroker

SHARE = 4  # one thread in so many
POLL_S = 3.0  # a wake-up call can get lost, and nobody waits for it
BUSY_POLL_S = 0.1  # how soon it is looked again whether a thread is free
ASKED = frozenset({"sha256", "type", "attempt"})  # see actors.redis_queue.preview_jobs.preview_message
UNDECIDED_MS = 5000
MOST_MISTAKES = 3

log = structlog.get_logger()


class Errand(MessageProxy):
    """A message of the second belt in a worker's hands; `step` is the verdict, None as long as there is none."""

    def __init__(self, message: dramatiq.Message[Any], handed: FetchedMessage, background: Background) -> None:
        super().__init__(message)
        self.background = background
        self.key = handed.key
        self.delivery_id = handed.delivery_id
        self.crashes = handed.crashes
        self.step: AckAction | None = None

    @property
    def attempt(self) -> int:
        """Which attempt it is, from 1."""
        return int(self.kwargs.get("attempt", 1))

    def done(self) -> None:
        self.step = AckAction("done", PREVIEW_QUEUE)

    def bury(self) -> None:
        self.step = AckAction("dead", PREVIEW_QUEUE, self._message.encode())

    def again(self, delay_ms: int, *, attempt: int) -> None:
        message = self._message.copy(kwargs={**self.kwargs, "attempt": attempt})
        self.step = AckAction("later", PREVIEW_QUEUE, message.encode(), delay_ms)


class Background:
    """What this process holds of the second belt. `busy` says how many messages of the first one it holds,
    or is about to ask for.

    At most one thread in four works on errands, one at least; all of them where no stage is served. None is taken
    while the attachments that the process holds could use every thread.
    """

    def __init__(self, belt: RedisQueue, worker: str, busy: Callable[[], int]) -> None:
        self.belt = belt
        self.worker = worker
        self._busy = busy
        self._threads = self._share = 1  # set when the worker boots
        self._alone = False
        self._held: dict[str, int] = {}
        self._changed = threading.Condition()
        self._called = True
        self._uncertain = True  # a fetch may have been answered without our hearing it
        self._look_at = 0.0
        self.suspects = threading.Lock()  # they run one at a time

    def size_for(self, threads: int, *, alone: bool) -> None:
        """`alone`: this process serves no stage."""
        self._threads = threads
        self._alone = alone
        self._share = threads if alone else max(1, threads // SHARE)

    def wake(self) -> None:
        """There are errands."""
        with self._changed:
            self._called = True
            self._changed.notify_all()

    def take(self) -> list[FetchedMessage]:
        """Fetches what there is a thread for; nothing after a while without.

        Raises:
            redis.RedisError: Redis is away.
        """
        room = self._wait()
        if room < 1:
            return []
        handed = self.belt.held_messages(self.worker) if self._uncertain else []
        fresh = [item for item in handed if self._held.get(item.key) != item.delivery_id]
        self._uncertain = False
        if not fresh:
            next_due, fresh = self.belt.fetch(self.worker, room, [PREVIEW_QUEUE])
            self._look_at = time.monotonic() + min(POLL_S if next_due is None else next_due, POLL_S)
            self._called |= len(fresh) == room
        with self._changed:
            self._held |= {item.key: item.delivery_id for item in fresh}
        return fresh

    def settle(self, errand: Errand | FetchedMessage, step: AckAction) -> None:
        """Carries a verdict out. If Redis is away it is held still, and comes again: an errand may be run twice."""
        try:
            self.belt.ack(self.worker, errand.key, errand.delivery_id, step)
        except redis.RedisError:
            self._uncertain = True
            raise
        finally:
            with self._changed:
                self._held.pop(errand.key, None)
                self._called = True  # another one may wait for this place
                self._changed.notify_all()

    def lost(self) -> None:
        """Redis is away: what it answered may not have been heard."""
        self._uncertain, self._called = True, True

    def _wait(self) -> int:
        with self._changed:
            # While attachments take all threads the time to look passes without a look.
            wanted = self._called or time.monotonic() >= self._look_at
            patience = BUSY_POLL_S if wanted else min(POLL_S, self._look_at - time.monotonic())
            self._changed.wait_for(lambda: (wanted or self._called) and self._room() > 0, max(0.0, patience))
            room = self._room()
            if room > 0 and (self._called or time.monotonic() >= self._look_at):
                self._called = False
                return room
        return 0

    def _room(self) -> int:
        held = len(self._held)
        busy = 0 if self._alone else self._busy()
        return min(self._share, self._threads - busy) - held


class BackgroundConsumer(Consumer):
    """Hands errands to Dramatiq's threads, and takes their verdicts."""

    def __init__(self, broker: EsteiraBroker, timeout: int) -> None:
        self.broker = broker
        self.timeout_s = timeout / 1000
        self._ready: list[FetchedMessage] = []
        self._pause = 0.05

    def __next__(self) -> Errand | None:
        if self.broker.draining.is_set():
            time.sleep(self.timeout_s / 2)
            return None
        if not self._ready:
            self._fetch()
        return self._unpack(self._ready.pop(0)) if self._ready else None

    def ack(self, message: MessageProxy) -> None:
        if isinstance(message, Errand):
            if message.step is None and message.attempt < MOST_MISTAKES:  # ours, which Dramatiq has logged
                message.again(UNDECIDED_MS, attempt=message.attempt + 1)
            self._conclude(message)

    def nack(self, message: MessageProxy) -> None:
        if isinstance(message, Errand):
            message.bury()
            self._conclude(message)

    def requeue(self, messages: Iterable[MessageProxy]) -> None:
        for message in messages:
            if isinstance(message, Errand):
                try:
                    self.broker.preview_prefetcher.settle(message, AckAction("back", PREVIEW_QUEUE))
                except redis.RedisError as error:
                    raise ConnectionClosed(error) from None  # type: ignore[no-untyped-call]

    def _fetch(self) -> None:
        try:
            self._ready = self.broker.preview_prefetcher.take()
        except redis.RedisError:
            self._is_away()
        else:
            self._pause = 0.05

    def _is_away(self) -> None:  # the consumers of the first belt say so
        self.broker.preview_prefetcher.lost()
        time.sleep(self._pause)
        self._pause = min(self._pause * 2, 1)

    def _conclude(self, errand: Errand) -> None:
        if errand.step is None:
            errand.bury()
        assert errand.step is not None
        self._settle(errand, errand.step)

    def _settle(self, item: Errand | FetchedMessage, step: AckAction) -> None:
        try:
            self.broker.preview_prefetcher.settle(item, step)
        except redis.RedisError:
            self.broker.preview_prefetcher.wake()

    def _unpack(self, handed: FetchedMessage) -> Errand | None:
        try:
            message = dramatiq.Message.decode(handed.data)
        except DecodeError:
            message = None
        if message is None or not _is_well_formed(message):
            log.error("not a message", id=handed.key, queue=handed.queue, remedy="kept as a dead letter")
            self._settle(handed, AckAction("dead", PREVIEW_QUEUE, handed.data))
            return None
        return Errand(message, handed, self.broker.preview_prefetcher)


def _is_well_formed(message: dramatiq.Message[Any]) -> bool:
    asked = message.kwargs
    return (
        message.actor_name == message.queue_name == PREVIEW_QUEUE
        and isinstance(message.options, dict)
        and not set(message.options) - {"key"}
        and not message.args
        and isinstance(asked, dict)
        and set(asked) <= ASKED
        and re.fullmatch(r"[0-9a-f]{64}", str(asked.get("sha256"))) is not None
        and isinstance(asked.get("type"), str)
        and isinstance(attempt := asked.get("attempt", 1), int)
        and attempt >= 1
    )
