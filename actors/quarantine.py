"""Poison: a message whose workers died three times while they held it fails instead of going round for ever."""

from __future__ import annotations

import dramatiq
import sentry_sdk
import structlog
from dramatiq.broker import MessageProxy
from dramatiq.middleware import SkipMessage

from actors.delivery import Delivery, Forward
from pipeline.errors import Code
from pipeline.models import Ending, Stage, Status

MAX_CRASHES = 3

log = structlog.get_logger()


class Quarantine(dramatiq.Middleware):
    """Ends what has brought its worker down too often before it does so again."""

    def before_process_message(self, broker: dramatiq.Broker, message: MessageProxy) -> None:
        if not isinstance(message, Delivery) or message.crashes < MAX_CRASHES or message.quarantined:
            return
        message.quarantined = True
        # If announcing brings the worker down as well, it ends without an announcement.
        silent = message.crashes > MAX_CRASHES or message.stage is Stage.NOTIFY
        message.verdict = Forward(Stage.NOTIFY, poison(message), silent=silent)
        log.error("poison", id=message.kwargs.get("media_id"), stage=message.actor_name, crashes=message.crashes)
        sentry_sdk.capture_message(f"poison: a message brought {message.crashes} workers down", level="error")
        raise SkipMessage


def poison(delivery: Delivery) -> Ending:
    """The ending of a message that brought its workers down."""
    return Ending(
        status=Status.FAILED,
        stage=delivery.stage,
        attempts=delivery.crashes,
        code=Code.POISON,
        message=f"{delivery.crashes} workers died while they held it",
    )
