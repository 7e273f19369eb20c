"""Poison: a message that brings its workers down fails after the third time instead of going round for ever.

A worker that dies holds several messages, and nobody knows which of them it was. So everything that it held is suspect,
suspects run one at a time in each process, and from then on only the one that had begun is blamed.
"""

from __future__ import annotations

import threading
from typing import Protocol, runtime_checkable

import dramatiq
import redis
import structlog
from dramatiq.broker import MessageProxy
from dramatiq.middleware import SkipMessage

from actors.delivery import Delivery, Finished, NextStage, Retry
from actors.observability.sentry import report_message
from pipeline.errors import Code
from pipeline.models import Failure, Stage, Status

MAX_CRASHES = 3
ASIDE_MS = 200  # how long a suspect waits while another one runs: a host may leave a hundred of them

log = structlog.get_logger()


@runtime_checkable
class Holder(Protocol):
    """The broker, as far as this middleware needs it."""

    def start_attempt(self, delivery: Delivery) -> bool:
        """Notes in Redis that this delivery is begun; False if it is not held any more."""


class Quarantine(dramatiq.Middleware):
    """Runs suspects one at a time, and ends what has brought its worker down too often before it does so again."""

    def __init__(self) -> None:
        self._running = threading.Lock()

    def before_process_message(self, broker: dramatiq.Broker, message: MessageProxy) -> None:
        if not isinstance(message, Delivery) or not message.crashes or message.quarantined:
            return
        if not self._running.acquire(blocking=False):
            message.verdict = Retry(ASIDE_MS, message.attempt)
            raise SkipMessage
        message.after_ack.append(self._running.release)
        message.quarantined = True
        assert isinstance(broker, Holder)
        try:
            held = broker.start_attempt(message)
        except redis.RedisError:  # Dramatiq would swallow it, and nobody would be to blame for the next crash
            message.verdict = Retry(ASIDE_MS, message.attempt)
            raise SkipMessage from None
        if not held:
            message.verdict = Finished()
            raise SkipMessage
        if message.crashes >= MAX_CRASHES:
            self._convict(message)
            raise SkipMessage

    @staticmethod
    def _convict(delivery: Delivery) -> None:
        # If announcing brings the worker down as well, it ends without an announcement.
        silent = delivery.crashes > MAX_CRASHES or delivery.stage is Stage.NOTIFY
        delivery.verdict = NextStage(Stage.NOTIFY, poison(delivery), silent=silent)
        log.error("poison", id=delivery.key, stage=delivery.actor_name, crashes=delivery.crashes)
        report_message(f"poison: a message brought {delivery.crashes} workers down")


def poison(delivery: Delivery) -> Failure:
    """The ending of a message that brought its workers down."""
    return Failure(
        status=Status.FAILED,
        stage=delivery.stage,
        attempts=delivery.crashes,
        code=Code.POISON,
        message=f"{delivery.crashes} workers died while they held it",
    )
