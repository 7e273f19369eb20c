"""Running on: what this process has fetched goes through the other stages together.

A hand-over between threads or processes costs more than what is handed over: a sandbox's child, the catalogue and Redis
are each asked once for all attachments of a crew. Nobody waits for company. Who has fetched while nobody leads takes
what there is, which on a quiet system is its own attachment alone; what others fetch meanwhile goes with the next crew.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence

import structlog

from actors.chain import ORDER, Chain, following
from actors.delivery import Delivery, Forward
from actors.presence import ACTIVITY
from actors.retries import Retries
from actors.work import run_all
from pipeline.models import Stage

MOST = 16  # in one crew

log = structlog.get_logger()


class Crew:
    """The attachments of this process that have left fetch. `settle` is called with all whose verdict is to go out.

    At most `leaders` threads at a time take a crew through the stages; more would only wait for the sandbox.
    """

    def __init__(
        self, *, chain: Chain, retries: Retries, settle: Callable[[Sequence[Delivery]], None], leaders: int
    ) -> None:
        self._chain = chain
        self._retries = retries
        self._settle = settle
        self._places = leaders
        self._leading = 0
        self._waiting: list[Delivery] = []
        self._lock = threading.Lock()

    def join(self, delivery: Delivery) -> None:
        """Sees to it that a delivery goes on. Returns at once if others lead, else when nothing is left to lead."""
        with self._lock:
            self._waiting.append(delivery)
            if self._leading >= self._places:
                return
            self._leading += 1
        while crew := self._next():
            self.go(crew)

    def go(self, crew: Sequence[Delivery]) -> None:
        """Takes these as far as this worker may, and has their verdicts carried out."""
        try:
            for stage in ORDER:
                self._pass(stage, crew)
        except BaseException:
            log.exception("crew failed", attachments=len(crew))  # a fault of ours: without a verdict each comes again
            for delivery in crew:
                delivery.verdict = None
        self._settle(crew)

    def _next(self) -> list[Delivery]:
        with self._lock:
            crew = self._waiting[:MOST]
            del self._waiting[:MOST]
            if not crew:
                self._leading -= 1
            return crew

    def _pass(self, stage: Stage, crew: Sequence[Delivery]) -> None:
        """One stage of those that have come to it."""
        aboard = []
        for delivery in crew:
            verdict = delivery.verdict
            if isinstance(verdict, Forward) and verdict.stage is stage and self._chain.runs_on(verdict):
                delivery.go_on(verdict)
                aboard.append(delivery)
        if not aboard:
            return
        with ACTIVITY.of([delivery.key for delivery in aboard], stage):
            raised = run_all(stage, aboard)
        for delivery, error in zip(aboard, raised, strict=True):
            if error is not None:
                self._retries.judge(delivery, error)
            elif delivery.verdict is None:
                delivery.verdict = following(stage, delivery.result)
