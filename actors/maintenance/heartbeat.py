"""What a worker process does beside its work: heartbeats, taking over from the dead, hearing the wake-up call."""

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
from actors.middleware.pauses import PAUSES_CHANGED
from actors.observability.worker_info import WorkerIdentity
from actors.redis_queue.queue import RedisQueue
from pipeline.errors import PipelineError
from pipeline.metrics import TAKEN_OVER
from pipeline.sandbox import deaths

BEAT_S = 3.0
SILENCE_S = 12.0  # a worker that was silent for so long is dead: its messages run again within 20 s
SILENCE_MS = int(SILENCE_S * 1000)
REAPER_LOCK_MS = 2000
LISTEN_S = 0.5
STEADY_S = 8.0  # the living beat every 3 s, and give Redis 5 s to answer

Chores = tuple[tuple[float, Callable[[], object]], ...]

log = structlog.get_logger()


class WorkerThreads(dramatiq.Middleware):
    """Starts the threads of a working process; web and command line have none and so count as no worker."""

    def __init__(self, chores: Chores, *, last: Callable[[], object]) -> None:
        """`chores` are (seconds between two runs, what to run), `last` is done when the worker has stopped."""
        self.chores = chores
        self.last = last
        self._stop = threading.Event()
        self._threads: list[threading.Thread] = []

    def before_worker_boot(self, broker: dramatiq.Broker, worker: dramatiq.Worker) -> None:
        assert isinstance(broker, EsteiraBroker)
        broker.size_for(worker.worker_threads)
        log.info("worker started", pid=os.getpid(), threads=worker.worker_threads, queues=broker.worker_queues)
        self._spawn("heartbeat", partial(self._every, BEAT_S, Heartbeat(broker).beat))
        self._spawn("wake-up", partial(self._listen, broker))
        for seconds, chore in self.chores:
            self._spawn(chore.__name__, partial(self._every, seconds, chore))

    def before_worker_shutdown(self, broker: dramatiq.Broker, worker: dramatiq.Worker) -> None:
        assert isinstance(broker, EsteiraBroker)
        broker.draining.set()

    def after_worker_shutdown(self, broker: dramatiq.Broker, worker: dramatiq.Worker) -> None:
        self._stop.set()
        for thread in self._threads:  # they use the client that the broker closes next
            thread.join(timeout=2)
        self.last()
        log.info("worker stopped", pid=os.getpid())

    def _spawn(self, name: str, target: Callable[[], None]) -> None:
        thread = threading.Thread(target=target, name=name, daemon=True)
        self._threads.append(thread)
        thread.start()

    def _every(self, seconds: float, chore: Callable[[], object]) -> None:
        while not self._stop.is_set():
            try:
                chore()
            except Exception as error:  # noqa: BLE001  (the edge of a thread that must not die; the next round comes)
                log.warning("chore failed", chore=threading.current_thread().name, error=_told(error))
            self._stop.wait(seconds)

    def _listen(self, broker: EsteiraBroker) -> None:
        while not self._stop.is_set():
            try:
                with broker.redis_queue.client.pubsub(ignore_subscribe_messages=True) as channel:  # type: ignore[no-untyped-call]
                    aside = broker.preview_queue.keys.channel
                    channel.subscribe(broker.redis_queue.keys.channel, aside)
                    broker.prefetcher.wake()  # what came while nobody listened
                    broker.preview_prefetcher.wake()
                    while not self._stop.is_set():
                        if heard := channel.get_message(timeout=LISTEN_S):
                            if heard["channel"] == aside.encode():
                                broker.preview_prefetcher.wake()
                            else:
                                _answer(broker, heard["data"])
            except (redis.RedisError, OSError):  # consumers poll meanwhile, and say that Redis is away
                time.sleep(1)


def _answer(broker: EsteiraBroker, call: bytes) -> None:
    if call == PAUSES_CHANGED:
        with suppress(PipelineError):  # what is paused is looked at every half second anyway
            broker.pauses.refresh(broker.redis_queue)
    broker.prefetcher.wake()


def _told(error: Exception) -> str:
    # The words of others may show what is nobody's business.
    return str(error) if isinstance(error, PipelineError) else type(error).__name__


class Heartbeat:
    """The heartbeats of one worker process, and its eye on those of the others.

    When Redis was away, or this process was stopped, everybody looks silent at first. So it takes nothing over before
    its own heart has beaten for a while, in which the living have beaten too.
    """

    def __init__(self, broker: EsteiraBroker) -> None:
        self._broker = broker
        self._identity = WorkerIdentity(threads=broker.threads, queues=broker.worker_queues)
        self._last = self._steady_since = time.monotonic()

    def beat(self) -> int:
        """One heartbeat; messages of workers that are dead go back to their queues. Returns how many."""
        belt, aside = self._broker.redis_queues
        worker = self._broker.worker_id
        try:
            dead = belt.heartbeat(worker, silence_ms=SILENCE_MS, info=self._said())
            dead_aside = aside.heartbeat(worker, silence_ms=SILENCE_MS)
            if not self._is_steady():
                return 0
            taken = self._take_over(belt, dead) + self._take_over(aside, dead_aside)
        except redis.RedisError:
            return 0  # the consumers say so, and say when it is back
        if taken:
            TAKEN_OVER.add(n=taken)
            log.warning("took over from dead workers", workers=len({*dead, *dead_aside}), messages=taken)
        return taken

    @staticmethod
    def _take_over(belt: RedisQueue, dead: list[str]) -> int:
        if not dead or not belt.locks.acquire("reaper", ttl_ms=REAPER_LOCK_MS):
            return 0
        return sum(max(0, belt.reap(name, silence_ms=SILENCE_MS, crash=True)) for name in dead)

    def _said(self) -> str:
        return self._identity.current_info(sandbox_deaths=deaths()).model_dump_json()

    def _is_steady(self) -> bool:
        now = time.monotonic()
        if now - self._last > 2 * BEAT_S:
            self._steady_since = now
        self._last = now
        return now - self._steady_since >= STEADY_S
