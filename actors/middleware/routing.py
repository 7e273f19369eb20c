"""Decides which stage follows, and whether this worker may run it itself; see actors.execution.batch."""

from __future__ import annotations

from typing import Any

import dramatiq
from dramatiq.broker import MessageProxy

from actors.delivery import Delivery, Finished, NextStage, Verdict
from actors.middleware.pauses import PauseMiddleware
from pipeline.models import Model, Record, Stage

ORDER = tuple(Stage)


def next_stage(stage: Stage, result: Model | None) -> NextStage | Finished:
    """What comes after a stage that went well, with its result as the next stage's input."""
    if stage is ORDER[-1]:
        return Finished(result if isinstance(result, Record) else None)
    following_stage = ORDER[ORDER.index(stage) + 1]
    # What notify needs stands in the catalogue's row.
    return NextStage(following_stage, None if isinstance(result, Record) else result)


class StageRouter(dramatiq.Middleware):
    """Notes what follows a stage that went well, and says whether it may be run here.

    With `hop` every stage goes through Redis. A worker that serves only some queues (`-Q`) runs on within these. In
    front of a paused stage it stops.
    """

    def __init__(self, *, hop: bool = False, pauses: PauseMiddleware | None = None) -> None:
        self.hop = hop
        self.pauses = pauses or PauseMiddleware()
        self.worker_queues: frozenset[str] | None = None  # None: every queue

    def before_worker_boot(self, broker: dramatiq.Broker, worker: dramatiq.Worker) -> None:
        self.worker_queues = frozenset(worker.consumer_whitelist) if worker.consumer_whitelist else None

    def after_process_message(
        self,
        broker: dramatiq.Broker,
        message: MessageProxy,
        *,
        result: Any = None,
        exception: BaseException | None = None,
    ) -> None:
        if exception is None and isinstance(message, Delivery) and message.verdict is None:
            message.verdict = next_stage(message.stage, message.result)

    def can_run_locally(self, verdict: Verdict | None) -> bool:
        """Whether this worker does the next stage itself, without a way through Redis.

        Never fetch: it waits for servers, and others would wait with it.
        """
        if not isinstance(verdict, NextStage) or self.hop or verdict.delay_ms:
            return False
        if verdict.stage is ORDER[0] or self.pauses.is_paused(verdict.stage.value):
            return False
        return self.worker_queues is None or verdict.stage.value in self.worker_queues
