"""Runs the stages after fetch in this process, for several attachments at once.

A hop through Redis costs more than most stages, and so does each call of the sandbox, the catalogue and Redis. So a
delivery that leaves fetch goes through the other stages in the same process, in one batch with those that are ready at
the same time. Batching never waits: the thread that finishes first leads whatever is ready through the stages, which on
a quiet system is its own delivery only. Deliveries that become ready meanwhile form the next batch.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from typing import NamedTuple

import structlog

from actors.delivery import Delivery, NextStage
from actors.execution.executor import run_stage
from actors.middleware.routing import ORDER, StageRouter
from pipeline.config.limits import MB
from pipeline.models import Detected, Fetched, Stage

MAX_BATCH = 16  # deliveries in one batch
LEADER_STALL_S = 1.0  # without a new batch for so long another thread leads the waiting deliveries

log = structlog.get_logger()


class BatchLimits(NamedTuple):
    """How many threads lead batches at once, and from which size a file runs alone.

    `parallel` threads lead while full batches wait, `leaders` at most when a leader stalls. A file of more than
    `large_bytes` runs outside the batches.
    """

    parallel: int = 1
    leaders: int = 1
    large_bytes: float = 16 * MB


class StageBatcher:
    """Takes this process's deliveries through the stages after fetch.

    `ack` carries out the verdicts of a batch. `detach` is called with the key of a delivery that another thread may
    continue, so that its own thread counts as free.

    One thread at a time leads a batch; more of them would wait for the sandbox. `limits` says when more threads lead. A
    delivery whose file keeps its decoder busy continues in a thread of its own.
    """

    def __init__(
        self,
        *,
        router: StageRouter,
        ack: Callable[[Sequence[Delivery]], None],
        detach: Callable[[str], None],
        limits: BatchLimits,
    ) -> None:
        self._router = router
        self._ack = ack
        self._detach = detach
        self._limits = limits
        self._leading = 0
        self._started = 0  # batches so far
        self._watched = False
        self._waiting: list[Delivery] = []
        self._extra_threads: set[threading.Thread] = set()
        self._lock = threading.Lock()

    def continue_or_ack(self, delivery: Delivery) -> None:
        """Does nothing if this worker may not run the next stage: then QueueConsumer.ack carries out the verdict.

        Otherwise takes the delivery through the stages that its verdict names, and acknowledges it with its last one.
        """
        if not self._router.can_run_locally(delivery.verdict):
            return
        delivery.in_batch = True
        if delivery.quarantined or self._is_large(delivery):  # others must neither crash with it nor wait for it
            self.run([delivery])
        else:
            self._detach(delivery.key)
            self.submit(delivery)

    def submit(self, delivery: Delivery) -> None:
        """Adds a delivery to the next batch. Returns at once if enough threads lead, else leads until none waits."""
        with self._lock:
            self._waiting.append(delivery)
            if self._leading >= self._limits.parallel or (self._leading and len(self._waiting) < MAX_BATCH):
                self._watch()
                return
            self._leading += 1
        self._lead()

    def run(self, batch: Sequence[Delivery]) -> None:
        """Runs the remaining stages of a batch as far as this worker may, one after the other, then acknowledges it."""
        try:
            for stage in ORDER:
                self._run_stage_of_batch(stage, batch)
        except BaseException:
            log.exception("batch failed", attachments=len(batch))  # a bug: without a verdict each is retried
            for delivery in batch:
                delivery.verdict = None
        unfinished = [delivery for delivery in batch if self._router.can_run_locally(delivery.verdict)]
        if unfinished:
            self._split(unfinished)
            keys = {delivery.key for delivery in unfinished}
            batch = [delivery for delivery in batch if delivery.key not in keys]
        self._ack_batch(batch)

    def wait(self, seconds: float) -> None:
        """Waits up to so many seconds for the deliveries that run in threads of their own."""
        deadline = time.monotonic() + seconds
        for thread in list(self._extra_threads):
            thread.join(max(0.0, deadline - time.monotonic()))

    def _lead(self) -> None:
        while batch := self._next():
            try:
                self.run(batch)
            except Exception:  # an exception here would leak the leader's slot and stall the queue
                log.exception("batch not acknowledged", ids=[delivery.key for delivery in batch])

    def _watch(self) -> None:
        """Starts a timer that checks the leaders after LEADER_STALL_S. Called with the lock held."""
        if self._watched or self._leading >= self._limits.leaders:
            return
        watch = threading.Timer(LEADER_STALL_S, self._relieve, args=(self._started,))
        watch.daemon = True
        with suppress(RuntimeError):  # no memory for another thread: a present leader takes them later
            watch.start()
            self._watched = True

    def _relieve(self, started: int) -> None:
        """Leads as well if no batch has started since the timer was set."""
        with self._lock:
            self._watched = False
            if not self._waiting:
                return
            if self._started != started or self._leading >= self._limits.leaders:
                self._watch()
                return
            self._leading += 1
            self._extra_threads.add(threading.current_thread())
        try:
            self._lead()
        finally:
            self._extra_threads.discard(threading.current_thread())

    def _ack_batch(self, batch: Sequence[Delivery]) -> None:
        """Acknowledges a batch; one that cannot be acknowledged does not keep the others from it."""
        try:
            self._ack(batch)
        except Exception:
            if len(batch) == 1 and batch[0].verdict is None:
                raise
            log.exception("batch not acknowledged together", ids=[delivery.key for delivery in batch])
            for delivery in batch:
                if len(batch) == 1:
                    delivery.verdict = None  # its verdict cannot be encoded: the stage is retried
                self._ack_batch([delivery])

    def _split(self, unfinished: Sequence[Delivery]) -> None:
        """Continues the first of these, whose file takes long, in its own thread. The others join the next batch."""
        slow, *others = unfinished
        with self._lock:
            self._waiting[:0] = others
        thread = threading.Thread(target=self._run_alone, args=(slow,), name=f"slow {slow.key}", daemon=True)
        self._extra_threads.add(thread)
        try:
            thread.start()
        except RuntimeError:  # no memory for another thread: its next stage goes through Redis
            self._extra_threads.discard(thread)
            self._ack_batch([slow])

    def _run_alone(self, delivery: Delivery) -> None:
        try:
            self.run([delivery])
        finally:
            self._extra_threads.discard(threading.current_thread())

    def _next(self) -> list[Delivery]:
        with self._lock:
            batch = self._waiting[:MAX_BATCH]
            del self._waiting[:MAX_BATCH]
            if batch:
                self._started += 1
            else:
                self._leading -= 1
            return batch

    def _run_stage_of_batch(self, stage: Stage, batch: Sequence[Delivery]) -> None:
        """Calls `executor.run_stage` for the deliveries of the batch whose verdict names this stage."""
        ready = []
        for delivery in batch:
            verdict = delivery.verdict
            if isinstance(verdict, NextStage) and verdict.stage is stage and self._router.can_run_locally(verdict):
                delivery.advance_to(verdict)
                ready.append(delivery)
        if ready:
            run_stage(stage, ready)

    def _is_large(self, delivery: Delivery) -> bool:
        result = delivery.result
        fetched = result.fetched if isinstance(result, Detected) else result
        return isinstance(fetched, Fetched) and fetched.size > self._limits.large_bytes
