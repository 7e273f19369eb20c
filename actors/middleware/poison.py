"""Poison messages: a message that crashes its workers fails after the third crash.

A worker that dies holds several messages, any of which may have crashed it. So each of them is a suspect from then on:
suspects run one at a time in a process, and another crash is counted only for the suspect that was running.
"""

from __future__ import annotations

import threading
from typing import Protocol, runtime_checkable

import dramatiq
import redis
import structlog
from dramatiq.broker import MessageProxy
from dramatiq.middleware import SkipMessage

from actors.delivery import Delivery, Finished, HeldMessage, NextStage, PreviewJob, Retry
from actors.observability.sentry import report_message
from pipeline.errors import Code
from pipeline.models import Failure, Stage, Status

MAX_CRASHES = 3
SUSPECT_DELAY_MS = 200  # while another suspect runs; short, because a dead host can leave a hundred suspects

log = structlog.get_logger()


@runtime_checkable
class StartRecorder(Protocol):
    """The part of the broker that this middleware uses."""

    def mark_started(self, message: HeldMessage) -> bool:
        """Notes in Redis that this suspect runs; False if this worker does not hold it any more."""


class Quarantine(dramatiq.Middleware):
    """Runs suspects one at a time, and ends a message that has crashed its workers too often."""

    def __init__(self) -> None:
        # Previews may take long: attachments do not wait for them.
        self._suspect_locks = {Delivery: threading.Lock(), PreviewJob: threading.Lock()}

    def before_process_message(self, broker: dramatiq.Broker, message: MessageProxy) -> None:
        if not isinstance(message, Delivery | PreviewJob) or not message.crashes or message.quarantined:
            return
        lock = self._suspect_locks[type(message)]
        if not lock.acquire(blocking=False):
            message.verdict = Retry(SUSPECT_DELAY_MS, message.attempt)
            raise SkipMessage
        message.after_ack.append(lock.release)
        message.quarantined = True
        assert isinstance(broker, StartRecorder)
        try:
            still_held = broker.mark_started(message)
        except redis.RedisError:  # without the note in Redis the next crash would be counted for no message
            message.verdict = Retry(SUSPECT_DELAY_MS, message.attempt)
            raise SkipMessage from None
        if not still_held:
            message.verdict = Finished()
            raise SkipMessage
        if message.crashes >= MAX_CRASHES and isinstance(message, Delivery):
            _set_poison_verdict(message)


def _set_poison_verdict(delivery: Delivery) -> None:
    """Gives the verdict before the stage runs: the actor continues with notify, which announces the failure."""
    # Where announcing it crashes the worker too, it ends without an announcement.
    silent = delivery.crashes > MAX_CRASHES or delivery.stage is Stage.NOTIFY
    delivery.verdict = NextStage(Stage.NOTIFY, poison_failure(delivery), silent=silent)
    log.error("poison", id=delivery.key, stage=delivery.actor_name, crashes=delivery.crashes)
    report_message(f"poison: a message crashed {delivery.crashes} workers")


def poison_failure(delivery: Delivery) -> Failure:
    """The failure of an attachment that crashed its workers."""
    return Failure(
        status=Status.FAILED,
        stage=delivery.stage,
        attempts=delivery.crashes,
        code=Code.POISON,
        message=f"{delivery.crashes} workers died while they held it",
    )
