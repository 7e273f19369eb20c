"""Running on: what this process has fetched goes through the other stages together.

A hand-over between threads or processes costs more than what is handed over: a sandbox's child, the catalogue and Redis
are each asked once for all attachments of a crew. Nobody waits for company. Who has fetched while nobody leads takes
what there is, which on a quiet system is its own attachment alone; what others fetch meanwhile goes with the next crew.
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
from actors.middleware.retries import Retries
from actors.middleware.routing import ORDER, StageRouter, next_stage
from actors.observability.worker_info import ACTIVITY
from pipeline.models import Stage

MAX_BATCH = 16  # in one crew
LEADER_STALL_S = 1.0  # nobody has taken a crew for so long: then another thread leads those who wait

log = structlog.get_logger()


class BatchLimits(NamedTuple):
    """How many threads may lead at once: because there is much to do, and because one that leads takes long."""

    abreast: int = 1
    leaders: int = 1


class StageBatcher:
    """The attachments of this process that have left fetch. `settle` is called with all whose verdict is to go out.

    One thread at a time takes a crew through the stages, up to `places.abreast` while whole crews wait for that, up to
    `places.leaders` where somebody waits for long; more would only wait for the sandbox. An attachment that its decoder
    takes long for goes on in a thread of its own.
    """

    def __init__(
        self,
        *,
        router: StageRouter,
        retries: Retries,
        settle: Callable[[Sequence[Delivery]], None],
        limits: BatchLimits,
    ) -> None:
        self._router = router
        self._retries = retries
        self._settle = settle
        self._limits = limits
        self._leading = 0
        self._taken = 0  # crews so far
        self._watched = False
        self._waiting: list[Delivery] = []
        self._beside: set[threading.Thread] = set()
        self._lock = threading.Lock()

    def submit(self, delivery: Delivery) -> None:
        """Sees to it that a delivery goes on. Returns at once if others lead, else when nothing is left to lead."""
        with self._lock:
            self._waiting.append(delivery)
            if self._leading >= self._limits.abreast or (self._leading and len(self._waiting) < MAX_BATCH):
                self._watch()
                return
            self._leading += 1
        self._lead()

    def run(self, crew: Sequence[Delivery]) -> None:
        """Takes these as far as this worker may, and has their verdicts carried out."""
        try:
            for stage in ORDER:
                self._pass(stage, crew)
        except BaseException:
            log.exception("crew failed", attachments=len(crew))  # a fault of ours: without a verdict each comes again
            for delivery in crew:
                delivery.verdict = None
        left = [delivery for delivery in crew if self._router.can_run_locally(delivery.verdict)]
        if left:
            self._part(left)
            unready = {delivery.key for delivery in left}
            crew = [delivery for delivery in crew if delivery.key not in unready]
        self._carry_out(crew)

    def wait(self, seconds: float) -> None:
        """Waits so long for those that go on without a thread of the worker's to come to their end."""
        deadline = time.monotonic() + seconds
        for thread in list(self._beside):
            thread.join(max(0.0, deadline - time.monotonic()))

    def _lead(self) -> None:
        while crew := self._next():
            try:
                self.run(crew)
            except Exception:  # who leads no more by mistake would keep others from it for ever
                log.exception("crew not settled", ids=[delivery.key for delivery in crew])

    def _watch(self) -> None:
        """Sees to it that somebody looks after RELIEF_S, unless nobody more may lead. Called with the lock held."""
        if self._watched or self._leading >= self._limits.leaders:
            return
        watch = threading.Timer(LEADER_STALL_S, self._relieve, args=(self._taken,))
        watch.daemon = True
        with suppress(RuntimeError):  # no memory for another thread: whoever leads comes to them
            watch.start()
            self._watched = True

    def _relieve(self, taken: int) -> None:
        """Leads as well, if those who do have taken no crew since."""
        with self._lock:
            self._watched = False
            if not self._waiting:
                return
            if self._taken != taken or self._leading >= self._limits.leaders:
                self._watch()
                return
            self._leading += 1
            self._beside.add(threading.current_thread())
        try:
            self._lead()
        finally:
            self._beside.discard(threading.current_thread())

    def _carry_out(self, crew: Sequence[Delivery]) -> None:
        """Has their verdicts carried out, and where one of them cannot be, those of the others."""
        try:
            self._settle(crew)
        except Exception:
            if len(crew) == 1 and crew[0].verdict is None:
                raise
            log.exception("not settled together", ids=[delivery.key for delivery in crew])
            for delivery in crew:
                if len(crew) == 1:
                    delivery.verdict = None  # what cannot be told is done again
                self._carry_out([delivery])

    def _part(self, left: Sequence[Delivery]) -> None:
        """The first of these takes long: it goes on alone, so that the others need not wait for it."""
        slow, *mates = left
        with self._lock:
            self._waiting[:0] = mates
        thread = threading.Thread(target=self._go_alone, args=(slow,), name=f"slow {slow.key}", daemon=True)
        self._beside.add(thread)
        try:
            thread.start()
        except RuntimeError:  # no memory for another thread: its next stage goes through Redis
            self._beside.discard(thread)
            self._carry_out([slow])

    def _go_alone(self, delivery: Delivery) -> None:
        try:
            self.run([delivery])
        finally:
            self._beside.discard(threading.current_thread())

    def _next(self) -> list[Delivery]:
        with self._lock:
            crew = self._waiting[:MAX_BATCH]
            del self._waiting[:MAX_BATCH]
            if crew:
                self._taken += 1
            else:
                self._leading -= 1
            return crew

    def _pass(self, stage: Stage, crew: Sequence[Delivery]) -> None:
        """One stage of those that have come to it."""
        aboard = []
        for delivery in crew:
            verdict = delivery.verdict
            if isinstance(verdict, NextStage) and verdict.stage is stage and self._router.can_run_locally(verdict):
                delivery.go_on(verdict)
                aboard.append(delivery)
        if not aboard:
            return
        with ACTIVITY.working_on([delivery.key for delivery in aboard], stage):
            raised = run_stage(stage, aboard)
        for delivery, error in zip(aboard, raised, strict=True):
            if error is not None:
                self._retries.judge(delivery, error)
            elif delivery.verdict is None:
                delivery.verdict = next_stage(stage, delivery.result)
