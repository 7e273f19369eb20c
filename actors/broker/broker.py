"""The Dramatiq broker that loses nothing.

A message is on the belt until one script has acknowledged it together with what follows from it. What a worker holds is
known to Redis, so whatever dies gives it back; nothing waits in a worker's memory that Redis does not know of.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Sequence
from typing import Any
from uuid import uuid4

import dramatiq
import redis
import structlog
from dramatiq.broker import Consumer
from dramatiq.errors import QueueJoinTimeout

from actors.broker.consumer import QueueConsumer
from actors.broker.prefetch import Prefetcher
from actors.broker.preview_consumer import Background, BackgroundConsumer
from actors.delivery import (
    DeadLetter,
    Delivery,
    Finished,
    NextStage,
    Requeue,
    Retry,
    Verdict,
    encode_message,
    stage_message,
)
from actors.execution.batch import BatchLimits, StageBatcher
from actors.middleware.retries import Retries
from actors.middleware.routing import StageRouter
from actors.redis_queue.finished_jobs import FinishedJobList, FinishedJobs, job_entry
from actors.redis_queue.keys import PREVIEW_QUEUE
from actors.redis_queue.queue import Ack, AckAction, RedisQueue
from actors.redis_queue.scheduling import SizeClasses
from pipeline.models import Detected, Fetched, Stage
from pipeline.outage import Outage

UNDECIDED_DELAY_MS = 5000
SHUTDOWN_GRACE_S = 2.0  # how long a worker that is told to stop waits for a Redis that is away

log = structlog.get_logger()


class EsteiraBroker(dramatiq.Broker):
    """Five queues on one belt, and a sixth on another beside it.

    Parameters:
        connect_worker: makes the client of a worker process, with patience.
        connect_enqueue: makes the client of whoever enqueues, without.
        ledger: where finished jobs are noted.
        size_classes: how messages take turns.
        middleware: with a `Chain` and `Retries` among them.
        places: how many threads of a process take what was fetched through the other stages.
    """

    def __init__(
        self,
        *,
        connect_worker: Callable[[], redis.Redis],
        connect_enqueue: Callable[[], redis.Redis],
        finished_jobs: FinishedJobs,
        size_classes: SizeClasses,
        middleware: list[dramatiq.Middleware],
        limits: BatchLimits = BatchLimits(),  # noqa: B008  it is frozen
    ) -> None:
        super().__init__(middleware=[])
        queues = [stage.value for stage in Stage]
        self.queues: set[str] = set()
        self.worker_id = uuid4().hex
        self.redis_queue = RedisQueue(connect_worker(), queues=queues, size_classes=size_classes)
        self.enqueue_client = RedisQueue(connect_enqueue(), queues=queues, size_classes=size_classes)
        self.finished_jobs = finished_jobs
        self.prefetcher = Prefetcher(size_classes)
        self.preview_prefetcher = Background(self.redis_queue.preview_queue, self.worker_id, self.prefetcher.busy)
        self.outage = Outage("redis")
        self.draining = threading.Event()  # takes nothing new
        self._feeder: QueueConsumer | None = None
        self._feeder_lock = threading.Lock()
        self.router = next(item for item in middleware if isinstance(item, StageRouter))
        self.pauses = self.router.pauses
        retries = next(item for item in middleware if isinstance(item, Retries))
        self.batcher = StageBatcher(router=self.router, retries=retries, settle=self.settle, limits=limits)
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
        self._of(self.enqueue_client, message.queue_name).enqueue(
            key, message.queue_name, encode_message(message), delay_ms=delay or 0
        )
        self.emit_after("enqueue", message, delay)
        return message

    def consume(self, queue_name: str, prefetch: int = 1, timeout: int = 5000) -> Consumer:
        """A consumer. The first one of a process feeds all its queues but `derive`, the others acknowledge only."""
        if queue_name == PREVIEW_QUEUE:
            return BackgroundConsumer(self, timeout)
        return QueueConsumer(self, queue_name, timeout)

    def flush(self, queue_name: str) -> None:
        """Drops what waits in a queue."""
        self._of(self.redis_queue, queue_name).flush(queue_name)

    def flush_all(self) -> None:
        for queue_name in self.queues:
            self.flush(queue_name)

    def join(self, queue_name: str, *, timeout: int | None = None) -> None:
        """Waits until nothing of a queue waits or runs, at most `timeout` ms.

        Raises:
            QueueJoinTimeout: when the time is over.
        """
        deadline = time.monotonic() + timeout / 1000 if timeout else None
        belt = self._of(self.redis_queue, queue_name)
        while any(belt.stats.counts()[queue_name][state] for state in ("ready", "delayed", "running")):
            if deadline and time.monotonic() > deadline:
                raise QueueJoinTimeout(queue_name)  # type: ignore[no-untyped-call]
            time.sleep(0.05)

    def close(self) -> None:
        """Gives back what this worker still holds and takes it off the list of workers."""
        self.draining.set()
        self.batcher.wait(SHUTDOWN_GRACE_S)
        try:
            for belt in self.redis_queues:
                belt.reap(self.worker_id, silence_ms=0, crash=False)
        except redis.RedisError as error:
            log.warning("could not sign off", error=type(error).__name__, remedy="the reaper will do it")
        self.redis_queue.client.close()
        self.enqueue_client.client.close()

    # ---- what its consumers and middleware use

    @property
    def redis_queues(self) -> tuple[RedisQueue, RedisQueue]:
        """That of the five stages, and the one beside it."""
        return self.redis_queue, self.redis_queue.preview_queue

    def size_for(self, threads: int) -> None:
        """Says how many threads this process has; called when it boots."""
        self.prefetcher.size_for(threads)
        self.preview_prefetcher.size_for(threads, alone=not self.stage_queues)

    def acquire_fetcher(self, consumer: QueueConsumer) -> bool:
        """Whether this consumer feeds the process: the first that asks, until it is closed."""
        with self._feeder_lock:
            if self._feeder is None:
                self._feeder = consumer
            return self._feeder is consumer

    def release_fetcher(self, consumer: QueueConsumer) -> bool:
        """Lets another one feed the process; whether this one did."""
        with self._feeder_lock:
            fed = self._feeder is consumer
            if fed:
                self._feeder = None
            return fed

    @property
    def stage_queues(self) -> list[str]:
        """The stages that this process works on, the last one first: what is nearly done goes out first."""
        return [stage.value for stage in reversed(Stage) if stage.value in self._served()]

    @property
    def worker_queues(self) -> list[str]:
        """The same, and the sixth queue if it is among them."""
        return [*self.stage_queues, *({PREVIEW_QUEUE} & self._served())]

    def continue_or_ack(self, delivery: Delivery) -> None:
        """Runs on as far as this worker may, then carries out the verdict. Another thread may do so for this one."""
        if delivery.quarantined or self._is_large(delivery):  # nobody is to die with it, or to wait until it is stored
            self.batcher.run([delivery])
        elif self.router.can_run_locally(delivery.verdict):
            self.prefetcher.detach(delivery.key)
            self.batcher.submit(delivery)
        else:
            self.settle([delivery])

    def start_attempt(self, delivery: Delivery) -> bool:
        """Notes that a message with crashes against its name is begun; False if it is not held any more."""
        return self.redis_queue.mark_started(self.worker_id, delivery.key, delivery.delivery_id)

    def requeue(self, delivery: Delivery) -> None:
        """Puts a message that was not worked on back to where it was."""
        self.redis_queue.ack(self.worker_id, delivery.key, delivery.delivery_id, AckAction("back", delivery.queue))
        self.prefetcher.remove(delivery.key, delivery.delivery_id)

    def settle(self, deliveries: Sequence[Delivery]) -> None:
        """Carries out verdicts. Does not return before Redis has them."""
        try:
            self._settle([self._settlement(delivery) for delivery in deliveries])
        finally:
            for delivery in deliveries:
                for let_go in delivery.after_ack:
                    let_go()

    def _settlement(self, delivery: Delivery) -> Ack:
        step, note = self._step(delivery)
        return Ack(delivery.key, delivery.delivery_id, step, note, delivery.preview_job)

    def _step(self, delivery: Delivery) -> tuple[AckAction, tuple[FinishedJobList, str] | None]:
        # No verdict: a middleware failed, and Dramatiq has logged it.
        verdict: Verdict = delivery.verdict or Retry(UNDECIDED_DELAY_MS, delivery.attempt)
        match verdict:
            case NextStage():
                message = stage_message(
                    str(delivery.kwargs["media_id"]),
                    verdict.stage,
                    inputs=verdict.inputs,
                    silent=verdict.silent,
                    lost=verdict.lost or delivery.lost,
                    claim=delivery.claim,
                )
                how = "later" if verdict.delay_ms else "next"
                return AckAction(how, verdict.stage.value, encode_message(message), verdict.delay_ms), None
            case Retry():
                message = delivery.again(verdict.attempt)
                return AckAction("later", message.queue_name, encode_message(message), verdict.delay_ms), None
            case Requeue():
                return AckAction("back", delivery.queue), None
            case DeadLetter():
                return AckAction("dead", delivery.queue, encode_message(delivery.message)), None
            case Finished():
                return self._last_step(delivery, verdict)

    def _last_step(self, delivery: Delivery, verdict: Finished) -> tuple[AckAction, tuple[FinishedJobList, str] | None]:
        record = verdict.record
        if record is None:
            return AckAction("done", delivery.queue), None
        note = (self.finished_jobs.list_for(record), job_entry(record))
        if record.status == "failed":
            return AckAction("dead", record.stage.value, encode_message(stage_message(record.id, record.stage))), note
        return AckAction("done", delivery.queue), note

    def _is_large(self, delivery: Delivery) -> bool:
        found = delivery.result
        fetched = found.fetched if isinstance(found, Detected) else found
        return isinstance(fetched, Fetched) and fetched.size > self.prefetcher.size_classes.large_bytes

    def _served(self) -> set[str]:
        return set(self.queues if self.router.worker_queues is None else self.router.worker_queues)

    @staticmethod
    def _of(belt: RedisQueue, queue_name: str) -> RedisQueue:
        return belt.preview_queue if queue_name == PREVIEW_QUEUE else belt

    def _settle(self, settlements: Sequence[Ack]) -> None:
        pause = 0.05
        while True:
            try:
                held = self.redis_queue.ack_many(self.worker_id, settlements)
            except redis.RedisError as error:
                self.outage.begin(error)
                if self.draining.is_set() and self.outage.duration_s > SHUTDOWN_GRACE_S:
                    ids = [settlement.key for settlement in settlements]
                    log.warning("not acknowledged", ids=ids, remedy="another worker takes them over")
                    return
                time.sleep(pause)
                pause = min(pause * 2, 1)
            else:
                self.outage.end()
                self._drop(settlements, held)
                return

    def _drop(self, settlements: Sequence[Ack], held: Sequence[bool]) -> None:
        for settlement, was_held in zip(settlements, held, strict=True):
            if not was_held:
                log.warning("taken over by another worker", id=settlement.key, queue=settlement.action.queue)
            self.prefetcher.remove(settlement.key, settlement.delivery_id)
