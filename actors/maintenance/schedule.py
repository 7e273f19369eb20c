"""The schedule of the maintenance tasks, and the threads that run them in each worker process."""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from functools import partial

import dramatiq
import redis
import structlog

from actors.broker.broker import EsteiraBroker
from actors.maintenance.heartbeat import HEARTBEAT_EVERY_S, Heartbeat
from actors.maintenance.tasks import MaintenanceTasks
from actors.middleware.pauses import PAUSES_CHANGED, REFRESH_EVERY_S
from actors.observability import metrics_store
from pipeline.config.settings import Settings
from pipeline.errors import PipelineError

REQUEUE_EVERY_S = 10.0
SPOOL_EVERY_S = 5.0
STAGING_EVERY_S = 20.0
WEBHOOKS_EVERY_S = 30.0
CLEANUP_EVERY_S = 600.0
SOURCES_EVERY_S = 60.0
LOCK_SHARE_MS = 900  # a task's lock lives for 0.9 of its interval, so that the next run of some worker gets it
WAKE_UP_POLL_S = 0.5
RECONNECT_S = 1.0
JOIN_S = 2.0

Task = tuple[float, Callable[[], object]]  # the seconds between two runs, and what to run

log = structlog.get_logger()


def maintenance_tasks(broker: EsteiraBroker, settings: Settings) -> tuple[Task, ...]:
    """All tasks. Those with a lock run in one worker at a time; the others concern the process or its machine."""
    tasks = MaintenanceTasks(broker, settings)
    locks = broker.enqueue_client.locks

    def locked(every_s: float, name: str, task: Callable[[], object]) -> Task:
        def run_if_locked() -> None:
            if locks.acquire(name, ttl_ms=int(every_s * LOCK_SHARE_MS)):
                task()

        run_if_locked.__name__ = name
        return every_s, run_if_locked

    return (
        (REFRESH_EVERY_S, tasks.refresh_pauses),
        (metrics_store.FLUSH_INTERVAL_S, tasks.flush_metrics),
        (settings.claim_lease_s / 3, tasks.renew_claims),
        (SPOOL_EVERY_S, tasks.hand_over_spooled),
        (STAGING_EVERY_S, tasks.clean_staging),
        (CLEANUP_EVERY_S, tasks.discard_old_files),
        locked(REQUEUE_EVERY_S, "sweep", partial(tasks.requeue_lost, lock="sweep", lock_s=REQUEUE_EVERY_S)),
        locked(CLEANUP_EVERY_S, "intake", tasks.clean_intake),
        locked(SOURCES_EVERY_S, "sources", tasks.remove_sources),
        locked(CLEANUP_EVERY_S, "deletions", tasks.finish_deletions),
        locked(CLEANUP_EVERY_S, "audit", tasks.trim_audit),
        locked(WEBHOOKS_EVERY_S, "webhooks", tasks.maintain_webhooks),
    )


class WorkerThreads(dramatiq.Middleware):
    """Starts the threads of a worker process. Web app and command line start none, and do not count as workers."""

    def __init__(self, tasks: tuple[Task, ...], *, on_stop: Callable[[], object]) -> None:
        """`on_stop` runs when the worker has stopped and its threads have ended."""
        self._tasks = tasks
        self._on_stop = on_stop
        self._stop = threading.Event()
        self._threads: list[threading.Thread] = []

    def before_worker_boot(self, broker: dramatiq.Broker, worker: dramatiq.Worker) -> None:
        assert isinstance(broker, EsteiraBroker)
        broker.size_for(worker.worker_threads)
        log.info("worker started", pid=os.getpid(), threads=worker.worker_threads, queues=broker.worker_queues)
        self._spawn("heartbeat", partial(self._run_every, HEARTBEAT_EVERY_S, Heartbeat(broker).beat))
        self._spawn("wake-up", partial(self._listen, broker))
        for seconds, task in self._tasks:
            self._spawn(task.__name__, partial(self._run_every, seconds, task))

    def before_worker_shutdown(self, broker: dramatiq.Broker, worker: dramatiq.Worker) -> None:
        assert isinstance(broker, EsteiraBroker)
        broker.draining.set()

    def after_worker_shutdown(self, broker: dramatiq.Broker, worker: dramatiq.Worker) -> None:
        self._stop.set()
        for thread in self._threads:  # they use the client that the broker closes next
            thread.join(timeout=JOIN_S)
        self._on_stop()
        log.info("worker stopped", pid=os.getpid())

    def _spawn(self, name: str, target: Callable[[], None]) -> None:
        thread = threading.Thread(target=target, name=name, daemon=True)
        self._threads.append(thread)
        thread.start()

    def _run_every(self, seconds: float, task: Callable[[], object]) -> None:
        while not self._stop.is_set():
            try:
                task()
            except Exception as error:  # noqa: BLE001  (the edge of a thread that must not die; the task runs again)
                log.warning("background task failed", task=threading.current_thread().name, error=_describe(error))
            self._stop.wait(seconds)

    def _listen(self, broker: EsteiraBroker) -> None:
        """Receives wake-up calls, and passes them to the prefetchers.

        They are published on `Keys.channel`, mostly by `push` in redis_queue/lua/scheduling.lua when a queue gets work,
        else by ack.lua (delayed messages) and publish_pauses.lua. They are received here; `Prefetcher.wake` ends the
        wait of the consumer that fetches (`Fetcher.next` in broker/consumer.py).
        """
        preview_channel = broker.preview_queue.keys.channel
        while not self._stop.is_set():
            try:
                with broker.redis_queue.client.pubsub(ignore_subscribe_messages=True) as channel:  # type: ignore[no-untyped-call]
                    channel.subscribe(broker.redis_queue.keys.channel, preview_channel)
                    broker.prefetcher.wake()  # for calls before the subscription
                    broker.preview_prefetcher.wake()
                    returns = broker.returns  # after an outage, the server may be another one, and this one may hang
                    while not self._stop.is_set() and returns == broker.returns:
                        if message := channel.get_message(timeout=WAKE_UP_POLL_S):
                            _wake(broker, message["data"], previews=message["channel"] == preview_channel.encode())
            except (redis.RedisError, OSError):  # meanwhile the consumers poll, and log the outage
                time.sleep(RECONNECT_S)


def _wake(broker: EsteiraBroker, call: bytes, *, previews: bool) -> None:
    if previews:
        broker.preview_prefetcher.wake()
        return
    if call == PAUSES_CHANGED:
        with suppress(PipelineError):  # the pauses are refreshed every half second anyway
            broker.pauses.refresh(broker.redis_queue)
    broker.prefetcher.wake()


def _describe(error: Exception) -> str:
    # Third-party error texts may contain secrets.
    return str(error) if isinstance(error, PipelineError) else type(error).__name__
