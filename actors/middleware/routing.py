"""The order of the stages, and which of them this worker may run without a hop through Redis."""

from __future__ import annotations

import dramatiq

from actors.delivery import Finished, NextStage, Verdict
from actors.middleware.pauses import PauseMiddleware
from pipeline.models import Model, Record, Stage

ORDER = tuple(Stage)


def next_stage(stage: Stage, result: Model | None) -> NextStage | Finished:
    """The verdict on a stage that succeeded; its result is the input of the next stage."""
    if stage is ORDER[-1]:
        return Finished(result if isinstance(result, Record) else None)
    following_stage = ORDER[ORDER.index(stage) + 1]
    # Notify reads its input from the catalogue's row.
    return NextStage(following_stage, None if isinstance(result, Record) else result)


class StageRouter(dramatiq.Middleware):
    """Says whether this worker may run a stage itself; see actors.execution.batch.

    With `hop` every stage goes through Redis. A worker that consumes only some queues (`-Q`) runs only their stages.
    A paused stage does not run.
    """

    def __init__(self, *, hop: bool = False, pauses: PauseMiddleware | None = None) -> None:
        self.hop = hop
        self.pauses = pauses or PauseMiddleware()
        self.worker_queues: frozenset[str] | None = None  # None: every queue

    def before_worker_boot(self, broker: dramatiq.Broker, worker: dramatiq.Worker) -> None:
        self.worker_queues = frozenset(worker.consumer_whitelist) if worker.consumer_whitelist else None

    def can_run_locally(self, verdict: Verdict | None) -> bool:
        """Whether the verdict's next stage may run in this process at once.

        Fetch always goes through Redis: it waits for servers, and the rest of a batch would wait with it.
        """
        if not isinstance(verdict, NextStage) or self.hop or verdict.delay_ms:
            return False
        if verdict.stage is ORDER[0] or self.pauses.is_paused(verdict.stage.value):
            return False
        return self.worker_queues is None or verdict.stage.value in self.worker_queues
