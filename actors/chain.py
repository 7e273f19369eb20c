"""What comes after a stage, and running on: the worker that has finished a stage does the next one at once."""

from __future__ import annotations

from typing import Any

import dramatiq
from dramatiq.broker import MessageProxy
from dramatiq.middleware import SkipMessage

from actors.delivery import Delivery, Finished, Forward, Verdict, stage_message
from actors.pausing import Pausing
from pipeline.models import Model, Record, Stage

ORDER = tuple(Stage)


def following(stage: Stage, result: Model | None) -> Forward | Finished:
    """What comes after a stage that went well, with its result as the next stage's input."""
    if stage is ORDER[-1]:
        return Finished(result if isinstance(result, Record) else None)
    following_stage = ORDER[ORDER.index(stage) + 1]
    # What notify needs stands in the catalogue's row.
    return Forward(following_stage, None if isinstance(result, Record) else result)


class Chain(dramatiq.Middleware):
    """Notes what follows a stage that went well, and runs it in the same thread where it may.

    With `hop` every stage goes through Redis. A worker that serves only some queues (`-Q`) runs on within these. In
    front of a paused stage it stops.
    """

    def __init__(self, *, hop: bool = False, pausing: Pausing | None = None) -> None:
        self.hop = hop
        self.pausing = pausing or Pausing()
        self.served: frozenset[str] | None = None  # None: every queue

    def before_worker_boot(self, broker: dramatiq.Broker, worker: dramatiq.Worker) -> None:
        self.served = frozenset(worker.consumer_whitelist) if worker.consumer_whitelist else None

    def after_process_message(
        self,
        broker: dramatiq.Broker,
        message: MessageProxy,
        *,
        result: Any = None,
        exception: BaseException | None = None,
    ) -> None:
        if exception is None and isinstance(message, Delivery) and message.verdict is None:
            message.verdict = following(message.stage, message.result)

    def runs_on(self, verdict: Verdict | None) -> bool:
        """Whether this worker does the next stage itself, without a way through Redis."""
        if not isinstance(verdict, Forward) or self.hop or verdict.delay_ms:
            return False
        if self.pausing.holds(verdict.stage.value):
            return False
        return self.served is None or verdict.stage.value in self.served

    def run_on(self, broker: dramatiq.Broker, delivery: Delivery) -> Delivery:
        """Runs the stages that follow, as far as this worker may; returns the last delivery, with its verdict."""
        while isinstance(delivery.verdict, Forward) and self.runs_on(delivery.verdict):
            verdict = delivery.verdict
            media_id = str(delivery.kwargs["media_id"])
            message = stage_message(
                media_id,
                verdict.stage,
                inputs=verdict.inputs,
                silent=verdict.silent,
                lost=verdict.lost or delivery.lost,
            )
            delivery = delivery.onward(message)
            process(broker, delivery)
        return delivery


def process(broker: dramatiq.Broker, delivery: Delivery) -> None:
    """One stage through every middleware, as Dramatiq's worker thread does it, without an acknowledgement."""
    try:
        broker.emit_before("process_message", delivery)
        broker.get_actor(delivery.actor_name)(*delivery.args, **delivery.kwargs)
        broker.emit_after("process_message", delivery)
    except SkipMessage:
        broker.emit_after("skip_message", delivery)
    except BaseException as error:  # noqa: BLE001  (the edge of the worker: Retries turns it into a verdict)
        broker.emit_after("process_message", delivery, exception=error)
