"""The consumer: hands this process's messages to Dramatiq's threads, and takes their verdicts."""

from __future__ import annotations

import time
from collections.abc import Iterable
from contextlib import suppress
from typing import TYPE_CHECKING, Any

import dramatiq
import redis
import structlog
from dramatiq.broker import Consumer, MessageProxy
from dramatiq.errors import ConnectionClosed, DecodeError

from actors.broker.prefetch import POLL_S
from actors.delivery import DeadLetter, Delivery
from actors.redis_queue.keys import PREVIEW_QUEUE
from actors.redis_queue.queue import AckAction, FetchedMessage, PauseStateUnknownError
from pipeline.errors import PipelineError

if TYPE_CHECKING:
    from actors.broker.broker import EsteiraBroker

ASKED = frozenset({"media_id", "attempt", "inputs", "silent", "lost", "heir_of", "trail"})  # see delivery.stage_message
OPTIONS = frozenset({"key"})  # what else Dramatiq finds there it obeys, or dies of

log = structlog.get_logger()


def is_well_formed(message: dramatiq.Message[Any]) -> bool:
    """Whether a message asks for something that an actor can do: anything else is kept as a dead letter."""
    asked = message.kwargs
    return (
        isinstance(message.actor_name, str)
        and message.actor_name != PREVIEW_QUEUE  # which has a belt of its own
        and isinstance(message.options, dict)
        and set(message.options) <= OPTIONS
        and not message.args
        and isinstance(asked, dict)
        and isinstance(asked.get("media_id"), str)
        and isinstance(attempt := asked.get("attempt", 1), int)
        and attempt >= 1
        and isinstance(asked.get("lost", 0), int)
        and isinstance(asked.get("inputs", {}), dict)
        and isinstance(asked.get("heir_of", ""), str)
        and isinstance(asked.get("trail", {}), dict)
        and set(asked) <= ASKED
    )


class QueueConsumer(Consumer):
    """Hands this process's messages to Dramatiq, and acknowledges them."""

    def __init__(self, broker: EsteiraBroker, queue_name: str, timeout: int) -> None:
        self.broker = broker
        self.queue_name = queue_name
        self.timeout_s = timeout / 1000
        self._uncertain = True  # a fetch may have been answered without our hearing it
        self._pause = 0.05
        self._look_at = 0.0  # when to look for work though none was announced, of the monotonic clock

    def __next__(self) -> Delivery | None:
        """The next message; None after a while without one."""
        if self.broker.draining.is_set() or not self.broker.acquire_fetcher(self):
            time.sleep(self.timeout_s / 2)
            return None
        handed = self.broker.prefetcher.pop()
        if handed is None:
            self._refill()
            handed = self.broker.prefetcher.pop()
        return self._unpack(handed) if handed else None

    def ack(self, message: MessageProxy) -> None:
        if isinstance(message, Delivery):
            self.broker.continue_or_ack(message)

    def nack(self, message: MessageProxy) -> None:
        """Dramatiq fails a message whose actor it does not know."""
        if isinstance(message, Delivery):
            message.verdict = DeadLetter()
            log.error("no such actor", actor=message.actor_name, id=message.key, remedy="kept as a dead letter")
            self.broker.continue_or_ack(message)

    def requeue(self, messages: Iterable[MessageProxy]) -> None:
        for message in messages:
            if isinstance(message, Delivery):
                try:
                    self.broker.requeue(message)
                except redis.RedisError as error:
                    raise ConnectionClosed(error) from None  # type: ignore[no-untyped-call]

    def close(self) -> None:
        if self.broker.release_fetcher(self):
            self.broker.prefetcher.release()

    def _refill(self) -> None:
        if not self.broker.prefetcher.wait(self._look_at):
            return
        try:
            self._fetch()
        except redis.RedisError as error:
            self._is_away(error)
            return
        self.broker.outage.end()
        self._pause = 0.05

    def _is_away(self, error: redis.RedisError) -> None:
        self._uncertain, self._look_at = True, 0.0
        self.broker.outage.begin(error)
        time.sleep(self._pause)
        self._pause = min(self._pause * 2, 1)

    def _fetch(self) -> None:
        broker = self.broker
        if self._uncertain:
            if held := broker.redis_queue.held_messages(broker.worker_id):
                broker.prefetcher.add(held)
            self._uncertain = False
        free, large = broker.prefetcher.free()
        next_due, handed = self._ask(free, large)
        broker.prefetcher.add(handed)
        if free and len(handed) == free:  # there may be more
            broker.prefetcher.wake()
        self._look_at = time.monotonic() + (POLL_S if next_due is None else min(max(next_due, 0.001), POLL_S))

    def _ask(self, count: int, large: int) -> tuple[float | None, list[FetchedMessage]]:
        broker = self.broker
        for _ in range(2):
            with suppress(PauseStateUnknownError):
                return broker.redis_queue.fetch(
                    broker.worker_id, count, broker.stage_queues, max_large=large, require_pause_state=True
                )
            try:
                broker.pauses.refresh(broker.redis_queue)
            except PipelineError as error:  # without the catalogue nothing could be worked on either
                log.warning("not known what is paused", error=error.message)
                break
        return None, []

    def _unpack(self, handed: FetchedMessage) -> Delivery | None:
        try:
            message = dramatiq.Message.decode(handed.data)
        except DecodeError:
            message = None
        if message is None or not is_well_formed(message):
            log.error("not a message", id=handed.key, queue=handed.queue, remedy="kept as a dead letter")
            self._bury(handed)
            return None
        # The consumer threads are found by queue name, and a message may name a queue that is not served here.
        if message.queue_name != handed.queue:
            message = message.copy(queue_name=handed.queue)
        return Delivery(
            message,
            key=handed.key,
            delivery_id=handed.delivery_id,
            queue=handed.queue,
            crashes=handed.crashes,
            session=handed.session,
        )

    def _bury(self, handed: FetchedMessage) -> None:
        broker = self.broker
        try:
            broker.redis_queue.ack(
                broker.worker_id, handed.key, handed.delivery_id, AckAction("dead", handed.queue, handed.data)
            )
        except redis.RedisError as error:  # it is still held, and comes again when this worker asks what it holds
            self._is_away(error)
        broker.prefetcher.remove(handed.key, handed.delivery_id)
