"""The consumer: fetches this process's messages from Redis, hands them to Dramatiq and acknowledges them."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterable, Sequence
from contextlib import suppress
from typing import NamedTuple

import redis
import structlog
from dramatiq.broker import Consumer, MessageProxy
from dramatiq.errors import ConnectionClosed

from actors.broker.acknowledger import Acknowledger, WorkerState
from actors.broker.decoding import Decode
from actors.broker.prefetch import Prefetcher
from actors.delivery import DeadLetter, HeldMessage
from actors.middleware.pauses import PauseMiddleware
from actors.redis_queue.messages import FetchedMessage, FetchLimits, FetchResult, PauseStateUnknownError
from actors.redis_queue.queue import RedisQueue
from pipeline.errors import PipelineError

DEAD_LETTER_KEPT = "kept as a dead letter"

log = structlog.get_logger()


class Fetcher:
    """Fetches messages from one Redis queue into the prefetcher. One consumer at a time uses it.

    `queue_names` says which of its queues this worker consumes. With `pauses` nothing is fetched before Redis knows
    what is paused.
    """

    def __init__(
        self,
        queue: RedisQueue,
        worker: WorkerState,
        *,
        prefetcher: Prefetcher,
        queue_names: Callable[[], Sequence[str]],
        pauses: PauseMiddleware | None = None,
    ) -> None:
        self._queue = queue
        self._worker = worker
        self._prefetcher = prefetcher
        self._queue_names = queue_names
        self._pauses = pauses
        self._owner: QueueConsumer | None = None
        self._lock = threading.Lock()
        self._must_ask_held_messages = True  # the answer to a fetch may have been lost
        self._fetch_at = 0.0  # when to fetch though no work was announced (monotonic clock)

    def acquire(self, consumer: QueueConsumer) -> bool:
        """True for the first consumer that calls this, until it releases the fetcher."""
        with self._lock:
            if self._owner is None:
                self._owner = consumer
            return self._owner is consumer

    def release(self, consumer: QueueConsumer) -> None:
        """Leaves the fetcher to another consumer, which fetches anew what was not popped."""
        with self._lock:
            if self._owner is not consumer:
                return
            self._owner = None
            self._must_ask_held_messages, self._fetch_at = True, 0.0
        self._prefetcher.release()

    def next(self) -> FetchedMessage | None:
        """The next message; None after the poll interval."""
        message = self._prefetcher.pop()
        if message is None:
            self._refill()
            message = self._prefetcher.pop()
        return message

    def lost_connection(self, error: redis.RedisError) -> None:
        """Notes that Redis is away and waits a moment; what this worker holds is asked for again afterwards."""
        self._must_ask_held_messages, self._fetch_at = True, 0.0
        self._worker.outage.begin(error)
        time.sleep(self._worker.outage.pause_s)

    def _refill(self) -> None:
        if not self._prefetcher.wait(self._fetch_at):
            return
        try:
            self._fetch()
        except redis.RedisError as error:
            self.lost_connection(error)
            return
        self._worker.outage.end()

    def _fetch(self) -> None:
        if self._must_ask_held_messages:
            if held := self._queue.held_messages(self._worker.id):
                self._prefetcher.add(held)
            self._must_ask_held_messages = False
        free, limits = self._prefetcher.free()
        next_due_s, messages, limited = self._fetch_unpaused(free, limits)
        self._prefetcher.add(messages, requested=free, limited=limited)
        poll_s = self._prefetcher.limits.poll_s
        self._fetch_at = time.monotonic() + (poll_s if next_due_s is None else min(max(next_due_s, 0.001), poll_s))

    def _fetch_unpaused(self, count: int, limits: FetchLimits) -> FetchResult:
        names = self._queue_names()
        if self._pauses is None:
            return self._queue.fetch(self._worker.id, count, names, limits=limits)
        for _ in range(2):
            with suppress(PauseStateUnknownError):
                return self._queue.fetch(self._worker.id, count, names, limits=limits, require_pause_state=True)
            try:
                self._pauses.refresh(self._queue)
            except PipelineError as error:  # without the catalogue no message could be processed either
                log.warning("pause state not loaded from the catalogue yet", error=error.message)
                break
        return FetchResult(None, [])


class MessageSource(NamedTuple):
    """What the consumers of one Redis queue share. The consumers of the five stages share one."""

    worker: WorkerState
    fetcher: Fetcher
    acknowledger: Acknowledger
    decode: Decode


class QueueConsumer(Consumer):
    """Hands messages to Dramatiq's threads and acknowledges them. A queue has one consumer in each process."""

    def __init__(self, source: MessageSource, *, timeout_ms: int) -> None:
        self._worker, self._fetcher, self._acknowledger, self._decode = source
        self._timeout_s = timeout_ms / 1000

    def __next__(self) -> HeldMessage | None:
        """The next message; None after the poll interval."""
        if self._worker.draining.is_set() or not self._fetcher.acquire(self):
            time.sleep(self._timeout_s / 2)
            return None
        fetched = self._fetcher.next()
        if fetched is None:
            return None
        message = self._decode(fetched)
        if message is None:
            self._keep_as_dead_letter(fetched)
        return message

    def ack(self, message: MessageProxy) -> None:
        """Carries out the verdict on a message, unless the batch has done so or will; see execution/batch.py."""
        if isinstance(message, HeldMessage) and not message.in_batch:
            self._acknowledger.ack([message])

    def nack(self, message: MessageProxy) -> None:
        """Keeps a message as a dead letter: Dramatiq rejects a message whose actor does not exist."""
        if isinstance(message, HeldMessage):
            message.verdict = DeadLetter()
            log.error("no such actor", actor=message.actor_name, id=message.key, consequence=DEAD_LETTER_KEPT)
            self._acknowledger.ack([message])

    def requeue(self, messages: Iterable[MessageProxy]) -> None:
        """Gives back messages that were not started, when the worker shuts down."""
        for message in messages:
            if isinstance(message, HeldMessage):
                try:
                    self._acknowledger.requeue(message)
                except redis.RedisError as error:
                    raise ConnectionClosed(error) from None  # type: ignore[no-untyped-call]

    def close(self) -> None:
        self._fetcher.release(self)

    def _keep_as_dead_letter(self, fetched: FetchedMessage) -> None:
        log.error("message cannot be decoded", id=fetched.key, queue=fetched.queue, consequence=DEAD_LETTER_KEPT)
        try:
            self._acknowledger.bury(fetched)
        except redis.RedisError as error:  # this worker still holds it, and gets it again
            self._fetcher.lost_connection(error)
