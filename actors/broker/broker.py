"""The Dramatiq broker on Redis, which loses no message.

A message stays in Redis until one script has acknowledged it together with what follows from it. Redis also knows what
each worker holds, so the messages of a worker that dies are delivered again.
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

from actors.broker.acknowledger import SHUTDOWN_GRACE_S, Acknowledger, WorkerState
from actors.broker.consumer import Fetcher, MessageSource, QueueConsumer
from actors.broker.decoding import Decode, decode_delivery, decode_preview_job
from actors.broker.prefetch import Prefetcher, PrefetchLimits
from actors.delivery import HeldMessage, encode_message
from actors.execution.batch import BatchLimits, StageBatcher
from actors.middleware.pauses import PauseMiddleware
from actors.middleware.routing import StageRouter
from actors.redis_queue.finished_jobs import FinishedJobs
from actors.redis_queue.keys import PREVIEW_QUEUE
from actors.redis_queue.queue import RedisQueue
from actors.redis_queue.scheduling import SizeClasses
from pipeline.models import Stage
from pipeline.outage import Outage
from pipeline.redis_client import on_move

log = structlog.get_logger()


class EsteiraBroker(dramatiq.Broker):
    """Five stage queues in one Redis queue, and the preview queue next to it.

    Parameters:
        connect_worker: makes the Redis client of a worker process, with a long timeout.
        connect_enqueue: makes the Redis client that enqueues, with a short timeout.
        finished_jobs: the lists of finished jobs.
        size_classes: which files are large, and the weights of sessions.
        router: says which stages this worker may run without a hop through Redis.
        limits: how many threads of a process lead batches.
        middleware: with the router among them.
    """

    def __init__(
        self,
        *,
        connect_worker: Callable[[], redis.Redis],
        connect_enqueue: Callable[[], redis.Redis],
        finished_jobs: FinishedJobs,
        size_classes: SizeClasses,
        router: StageRouter,
        limits: BatchLimits = BatchLimits(),  # noqa: B008  it is frozen
        middleware: list[dramatiq.Middleware],
    ) -> None:
        super().__init__(middleware=[])
        queues = [stage.value for stage in Stage]
        self.queues: set[str] = set()
        self.threads = 1  # set when the worker boots
        self.worker_id = uuid4().hex
        self.router = router
        self.pauses = router.pauses
        self.on_return: Callable[[], object] = bool  # called when Redis is back, or was wiped
        self.returns = 0  # how often it was
        self.outage = Outage("redis", on_end=self._redis_returned)
        self.pauses.on_wiped = self._redis_returned
        self.draining = threading.Event()  # set at shutdown: nothing is fetched any more
        self.size_classes = size_classes
        self.redis_queue = RedisQueue(connect_worker(), queues=queues, size_classes=size_classes)
        self.enqueue_client = RedisQueue(connect_enqueue(), queues=queues, size_classes=size_classes)
        on_move(self.redis_queue.client, self._redis_returned)  # after a failover, it may lack the last messages
        self.preview_queue = self.redis_queue.preview_queue
        self.prefetcher = Prefetcher()
        self.preview_prefetcher = Prefetcher(free_threads=self._threads_for_previews)
        self._finished_jobs = finished_jobs
        self._stages = self._source(
            self.redis_queue, self.prefetcher, decode_delivery, lambda: self.stage_queues, pauses=self.pauses
        )
        self._previews = self._source(
            self.preview_queue, self.preview_prefetcher, decode_preview_job, lambda: [PREVIEW_QUEUE]
        )
        self.batcher = StageBatcher(
            router=router, ack=self._stages.acknowledger.ack, detach=self.prefetcher.detach, limits=limits
        )
        for item in middleware:
            self.add_middleware(item)

    # ---- the interface of dramatiq.Broker

    def declare_queue(self, queue_name: str) -> None:
        """Declares a queue. It has no delay queue: delayed messages wait in Redis."""
        if queue_name not in self.queues:
            self.emit_before("declare_queue", queue_name)
            self.queues.add(queue_name)
            self.emit_after("declare_queue", queue_name)

    def get_declared_queues(self) -> set[str]:
        return self.queues.copy()

    def enqueue(self, message: dramatiq.Message[Any], *, delay: int | None = None) -> dramatiq.Message[Any]:
        """Enqueues a message unless its key is enqueued already. The key is the option `key`, else the message's id.

        Raises:
            redis.RedisError: at once or after a quarter of a second; nothing is repeated.
        """
        self.emit_before("enqueue", message, delay)
        key = str(message.options.get("key", message.message_id))
        queue = self._queue_of(self.enqueue_client, message.queue_name)
        queue.enqueue(key, message.queue_name, encode_message(message), delay_ms=delay or 0)
        self.emit_after("enqueue", message, delay)
        return message

    def consume(self, queue_name: str, prefetch: int = 1, timeout: int = 5000) -> Consumer:
        """A consumer of one queue; `timeout` in ms. The consumers of the five stages share one fetcher."""
        source = self._previews if queue_name == PREVIEW_QUEUE else self._stages
        return QueueConsumer(source, timeout_ms=timeout)

    def flush(self, queue_name: str) -> None:
        """Drops the messages that wait in a queue."""
        self._queue_of(self.redis_queue, queue_name).flush(queue_name)

    def flush_all(self) -> None:
        for queue_name in self.queues:
            self.flush(queue_name)

    def join(self, queue_name: str, *, timeout: int | None = None) -> None:
        """Waits until no message of a queue waits or runs, at most `timeout` ms.

        Raises:
            QueueJoinTimeout: when the time is over.
        """
        deadline = time.monotonic() + timeout / 1000 if timeout else None
        queue = self._queue_of(self.redis_queue, queue_name)
        while any(queue.stats.counts()[queue_name][state] for state in ("ready", "delayed", "running")):
            if deadline and time.monotonic() > deadline:
                raise QueueJoinTimeout(queue_name)  # type: ignore[no-untyped-call]
            time.sleep(0.05)

    def close(self) -> None:
        """Gives back what this worker still holds and deregisters it."""
        self.draining.set()
        self.batcher.wait(SHUTDOWN_GRACE_S)
        try:
            for queue in self.redis_queues:
                queue.reap(self.worker_id, silence_ms=0, crash=False)
        except redis.RedisError as error:
            log.warning("worker not deregistered", error=type(error).__name__, consequence="another worker does it")
        self.redis_queue.client.close()
        self.enqueue_client.client.close()

    # ---- for middleware and maintenance

    @property
    def redis_queues(self) -> tuple[RedisQueue, RedisQueue]:
        """The Redis queue of the five stages and that of the previews."""
        return self.redis_queue, self.preview_queue

    @property
    def stage_queues(self) -> list[str]:
        """The stages that this process runs, the last one first: nearly finished attachments have precedence."""
        return [stage.value for stage in reversed(Stage) if stage.value in self._consumed()]

    @property
    def worker_queues(self) -> list[str]:
        """All queues that this process consumes: those of the stages, and the preview queue."""
        return [*self.stage_queues, *({PREVIEW_QUEUE} & self._consumed())]

    def size_for(self, threads: int) -> None:
        """Sets the number of threads of this process; called when it boots."""
        self.threads = threads
        self.prefetcher.limits = PrefetchLimits.of_stages(
            threads,
            large_room=self.size_classes.large_threads(threads),
            per_session=self.size_classes.per_session,
        )
        self.preview_prefetcher.limits = PrefetchLimits.of_previews(threads, alone=not self.stage_queues)

    def mark_started(self, message: HeldMessage) -> bool:
        """Notes that a message that has crashed a worker runs; False if this worker does not hold it any more."""
        queue = self._queue_of(self.redis_queue, message.queue)
        return queue.mark_started(self.worker_id, message.key, message.delivery_id)

    def _redis_returned(self) -> None:
        self.returns += 1
        if not self.draining.is_set():
            self.on_return()

    def _threads_for_previews(self) -> int:
        """The threads that no attachment needs."""
        return self.threads - self.prefetcher.busy() if self.stage_queues else self.threads

    def _consumed(self) -> set[str]:
        return set(self.queues if self.router.worker_queues is None else self.router.worker_queues)

    def _source(
        self,
        queue: RedisQueue,
        prefetcher: Prefetcher,
        decode: Decode,
        queue_names: Callable[[], Sequence[str]],
        pauses: PauseMiddleware | None = None,
    ) -> MessageSource:
        """What the consumers of one Redis queue share."""
        worker = WorkerState(self.worker_id, self.outage, self.draining, self._redis_returned)
        fetcher = Fetcher(queue, worker, prefetcher=prefetcher, queue_names=queue_names, pauses=pauses)
        acknowledger = Acknowledger(queue, worker, prefetcher=prefetcher, finished_jobs=self._finished_jobs)
        return MessageSource(worker, fetcher, acknowledger, decode)

    @staticmethod
    def _queue_of(queue: RedisQueue, queue_name: str) -> RedisQueue:
        return queue.preview_queue if queue_name == PREVIEW_QUEUE else queue
