"""The Dramatiq broker that loses nothing.

A message is on the belt until one script has acknowledged it together with what follows from it. What a worker holds is
known to Redis, so whatever dies gives it back; nothing waits in a worker's memory that Redis does not know of.
"""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Callable, Iterable
from typing import Any
from uuid import uuid4

import dramatiq
import redis
import structlog
from dramatiq.broker import Consumer, MessageProxy
from dramatiq.errors import ConnectionClosed, DecodeError, QueueJoinTimeout

from actors.belt import Belt, Handed, Step
from actors.chain import Chain
from actors.delivery import Again, Buried, Delivery, Finished, Forward, Verdict, stage_message, wire_form
from actors.ledger import Ledger, Shelf, entry
from actors.outage import Outage
from pipeline.models import Stage

UNDECIDED_DELAY_MS = 5000
LAST_WORDS_S = 2.0  # how long a worker that is told to stop waits for a Redis that is away
POLL_S = 1.0  # how long a consumer sleeps at most: a wake-up can get lost with the connection that carries it

log = structlog.get_logger()


class Hands:
    """What this process holds and how much more it takes; wakes its feeder when there is room or work."""

    def __init__(self) -> None:
        self.room = 1  # set when the worker boots
        self.low_water = 0
        self._held: dict[str, int] = {}  # key → serial
        self._changed = threading.Condition()
        self._called = False

    def size_for(self, threads: int) -> None:
        """Two messages a thread: enough that none waits for Redis, few enough to share with other processes."""
        self.room = threads * 2
        self.low_water = threads + threads // 2

    def take(self, handed: Iterable[Handed]) -> list[Handed]:
        """Notes what was handed over; returns what is new to this process."""
        with self._changed:
            new = [item for item in handed if self._held.get(item.key) != item.serial]
            self._held.update((item.key, item.serial) for item in new)
            return new

    def drop(self, key: str, serial: int) -> None:
        with self._changed:
            if self._held.get(key) == serial:
                del self._held[key]
            if len(self._held) == self.low_water:
                self._changed.notify_all()

    def free(self) -> int:
        return self.room - len(self._held)

    def call(self) -> None:
        """Work has come: the feeder looks at once."""
        with self._changed:
            self._called = True
            self._changed.notify_all()

    def wait(self, seconds: float) -> None:
        """Until there is room and (work was announced or `seconds` have passed), at most POLL_S."""
        with self._changed:
            if self.free() <= 0:
                self._changed.wait_for(lambda: len(self._held) <= self.low_water, POLL_S)
            elif not self._called:
                self._changed.wait_for(lambda: self._called, min(seconds, POLL_S))
            self._called = False


class EsteiraBroker(dramatiq.Broker):
    """Five queues on one belt.

    Parameters:
        connect_worker: makes the client of a worker process, with patience.
        connect_sender: makes the client of whoever enqueues, without.
        ledger: where finished jobs are noted.
        chain: runs the next stage in the same thread.
    """

    def __init__(
        self,
        *,
        connect_worker: Callable[[], redis.Redis],
        connect_sender: Callable[[], redis.Redis],
        ledger: Ledger,
        middleware: list[dramatiq.Middleware],
    ) -> None:
        super().__init__(middleware=[])
        queues = [stage.value for stage in Stage]
        self.queues: set[str] = set()
        self.worker_id = uuid4().hex
        self.belt = Belt(connect_worker(), queues=queues)
        self.sender = Belt(connect_sender(), queues=queues)
        self.ledger = ledger
        self.hands = Hands()
        self.outage = Outage("redis")
        self.draining = threading.Event()  # takes nothing new
        self._feeder: BeltConsumer | None = None
        self._feeder_lock = threading.Lock()
        self.chain = next(item for item in middleware if isinstance(item, Chain))
        for item in middleware:
            self.add_middleware(item)

    # ---- what Dramatiq asks of a broker

    def declare_queue(self, queue_name: str) -> None:
        """Declares a queue. It has no delay queue: delayed messages wait in Redis."""
        if queue_name not in self.queues:
            self.emit_before("declare_queue", queue_name)
            self.queues.add(queue_name)
            self.emit_after("declare_queue", queue_name)

    def get_declared_queues(self) -> set[str]:
        return self.queues.copy()

    def enqueue(self, message: dramatiq.Message[Any], *, delay: int | None = None) -> dramatiq.Message[Any]:
        """Puts a message on the belt. Its key is the option `key`, else its id; a key on the belt is not put twice.

        Raises:
            redis.RedisError: at once or after a quarter of a second; nothing is repeated.
        """
        self.emit_before("enqueue", message, delay)
        key = str(message.options.get("key", message.message_id))
        self.sender.offer(key, message.queue_name, wire_form(message), delay_ms=delay or 0)
        self.emit_after("enqueue", message, delay)
        return message

    def consume(self, queue_name: str, prefetch: int = 1, timeout: int = 5000) -> BeltConsumer:
        """A consumer. The first one of a process feeds all its queues, the others acknowledge only."""
        return BeltConsumer(self, queue_name, timeout)

    def flush(self, queue_name: str) -> None:
        """Drops what waits in a queue."""
        keys = self.belt.keys
        ready: Any = self.belt.client.lrange(keys.ready(queue_name), 0, -1)
        delayed: Any = self.belt.client.zrange(keys.delayed(queue_name), 0, -1)
        if waiting := [*ready, *delayed]:
            self.belt.client.hdel(keys.messages, *waiting)
        self.belt.client.delete(keys.ready(queue_name), keys.delayed(queue_name))

    def flush_all(self) -> None:
        for queue_name in self.queues:
            self.flush(queue_name)

    def join(self, queue_name: str, *, timeout: int | None = None) -> None:
        """Waits until nothing of a queue waits or runs, at most `timeout` ms.

        Raises:
            QueueJoinTimeout: when the time is over.
        """
        deadline = time.monotonic() + timeout / 1000 if timeout else None
        while any(self.belt.counts()[queue_name][state] for state in ("ready", "delayed", "running")):
            if deadline and time.monotonic() > deadline:
                raise QueueJoinTimeout(queue_name)  # type: ignore[no-untyped-call]
            time.sleep(0.05)

    def close(self) -> None:
        """Gives back what this worker still holds and takes it off the list of workers."""
        self.draining.set()
        try:
            self.belt.reap(self.worker_id, silence_ms=0, crash=False)
        except redis.RedisError as error:
            log.warning("could not sign off", error=type(error).__name__, remedy="the reaper will do it")
        self.belt.client.close()
        self.sender.client.close()

    # ---- what its consumers and middleware use

    def lead(self, consumer: BeltConsumer) -> bool:
        """Whether this consumer feeds the process: the first that asks, until it is closed."""
        with self._feeder_lock:
            if self._feeder is None:
                self._feeder = consumer
            return self._feeder is consumer

    def resign(self, consumer: BeltConsumer) -> None:
        with self._feeder_lock:
            if self._feeder is consumer:
                self._feeder = None

    @property
    def served(self) -> list[str]:
        """The queues that this process works on, the last stage first: what is nearly done goes out first."""
        served = self.chain.served if self.chain.served is not None else self.queues
        return [stage.value for stage in reversed(Stage) if stage.value in served]

    def conclude(self, delivery: Delivery) -> None:
        """Runs on as far as this worker may, then carries out the verdict. Does not return before Redis has it."""
        last = delivery
        try:
            last = self.chain.run_on(self, delivery)
        finally:
            try:
                self._settle(last, *self._step(last))
            finally:
                for let_go in last.on_settled:
                    let_go()

    def begin(self, delivery: Delivery) -> bool:
        """Notes that a message with crashes against its name is begun; False if it is not held any more."""
        return self.belt.begin(self.worker_id, delivery.key, delivery.serial)

    def hand_back(self, delivery: Delivery) -> None:
        """Puts a message that was not worked on back to where it was."""
        self.belt.finish(self.worker_id, delivery.key, delivery.serial, Step("back", delivery.queue))
        self.hands.drop(delivery.key, delivery.serial)

    def _step(self, delivery: Delivery) -> tuple[Step, tuple[Shelf, str] | None]:
        # No verdict: a middleware failed, and Dramatiq has logged it.
        verdict: Verdict = delivery.verdict or Again(UNDECIDED_DELAY_MS, delivery.attempt)
        match verdict:
            case Forward():
                message = stage_message(
                    str(delivery.kwargs["media_id"]),
                    verdict.stage,
                    inputs=verdict.inputs,
                    silent=verdict.silent,
                    heir_of=delivery.claim.token if delivery.claim else None,
                )
                return Step("next", verdict.stage.value, wire_form(message)), None
            case Again():
                kwargs = {**delivery.kwargs, "attempt": verdict.attempt}
                if delivery.claim:
                    kwargs["heir_of"] = delivery.claim.token
                message = delivery.message.copy(kwargs=kwargs)
                return Step("later", message.queue_name, wire_form(message), verdict.delay_ms), None
            case Buried():
                return Step("dead", delivery.queue, wire_form(delivery.message)), None
            case Finished():
                return self._last_step(delivery, verdict)

    def _last_step(self, delivery: Delivery, verdict: Finished) -> tuple[Step, tuple[Shelf, str] | None]:
        record = verdict.record
        if record is None:
            return Step("done", delivery.queue), None
        note = (self.ledger.shelf(record), entry(record))
        if record.status == "failed":
            return Step("dead", record.stage.value, wire_form(stage_message(record.id, record.stage))), note
        return Step("done", delivery.queue), note

    def _settle(self, delivery: Delivery, step: Step, note: tuple[Shelf, str] | None) -> None:
        pause = 0.05
        while True:
            try:
                if not self.belt.finish(self.worker_id, delivery.key, delivery.serial, step, note=note):
                    log.warning("taken over by another worker", id=delivery.key, stage=delivery.actor_name)
            except redis.RedisError as error:
                self.outage.begin(error)
                if self.draining.is_set() and self.outage.lasts_s > LAST_WORDS_S:
                    log.warning("not acknowledged", id=delivery.key, remedy="another worker takes it over")
                    return
                time.sleep(pause)
                pause = min(pause * 2, 1)
            else:
                self.outage.end()
                self.hands.drop(delivery.key, delivery.serial)
                return


class BeltConsumer(Consumer):
    """Hands this process's messages to Dramatiq, and acknowledges them."""

    def __init__(self, broker: EsteiraBroker, queue_name: str, timeout: int) -> None:
        self.broker = broker
        self.queue_name = queue_name
        self.timeout_s = timeout / 1000
        self._waiting: deque[Handed] = deque()
        self._uncertain = True  # a fetch may have been answered without our hearing it
        self._pause = 0.05
        self._next_due: float | None = None

    def __next__(self) -> Delivery | None:
        """The next message; None after a while without one."""
        if self.broker.draining.is_set() or not self.broker.lead(self):
            time.sleep(self.timeout_s / 2)
            return None
        if not self._waiting:
            self._refill()
        return self._unpack(self._waiting.popleft()) if self._waiting else None

    def ack(self, message: MessageProxy) -> None:
        if isinstance(message, Delivery):
            self.broker.conclude(message)

    def nack(self, message: MessageProxy) -> None:
        """Dramatiq fails a message whose actor it does not know."""
        if isinstance(message, Delivery):
            message.verdict = Buried()
            log.error("no such actor", actor=message.actor_name, id=message.key, remedy="kept as a dead letter")
            self.broker.conclude(message)

    def requeue(self, messages: Iterable[MessageProxy]) -> None:
        for message in messages:
            if isinstance(message, Delivery):
                try:
                    self.broker.hand_back(message)
                except redis.RedisError as error:
                    raise ConnectionClosed(error) from None  # type: ignore[no-untyped-call]

    def close(self) -> None:
        for handed in self._waiting:  # whoever feeds next finds them among what this worker holds
            self.broker.hands.drop(handed.key, handed.serial)
        self._waiting.clear()
        self.broker.resign(self)

    def _refill(self) -> None:
        hands = self.broker.hands
        if hands.free() <= 0 or self._waiting:
            hands.wait(POLL_S)
            return
        try:
            handed = self._fetch()
        except redis.RedisError as error:
            self._uncertain = True
            self.broker.outage.begin(error)
            time.sleep(self._pause)
            self._pause = min(self._pause * 2, 1)
            return
        self.broker.outage.end()
        self._pause = 0.05
        self._waiting.extend(hands.take(handed))
        if not self._waiting:
            hands.wait(POLL_S if self._next_due is None else max(self._next_due, 0.001))

    def _fetch(self) -> list[Handed]:
        broker = self.broker
        if self._uncertain:
            known = broker.belt.held(broker.worker_id)
            self._uncertain = False
            if known := broker.hands.take(known):
                self._waiting.extend(known)
                return []
        self._next_due, handed = broker.belt.fetch(broker.worker_id, broker.hands.free(), broker.served)
        return handed

    def _unpack(self, handed: Handed) -> Delivery | None:
        try:
            message = dramatiq.Message.decode(handed.data)
        except DecodeError:
            message = None
        if message is None or not isinstance(message.kwargs, dict) or "media_id" not in message.kwargs:
            log.error("not a message", id=handed.key, queue=handed.queue, remedy="kept as a dead letter")
            self._bury(handed)
            return None
        # The consumer threads are found by queue name, and a message may name a queue that is not served here.
        if message.queue_name != handed.queue:
            message = message.copy(queue_name=handed.queue)
        return Delivery(message, key=handed.key, serial=handed.serial, queue=handed.queue, crashes=handed.crashes)

    def _bury(self, handed: Handed) -> None:
        broker = self.broker
        broker.belt.finish(broker.worker_id, handed.key, handed.serial, Step("dead", handed.queue, handed.data))
        broker.hands.drop(handed.key, handed.serial)
