"""What an operator holds in hand: pausing a stage or a session, resuming it, cancelling an attachment."""

from __future__ import annotations

from contextlib import suppress
from functools import partial

import structlog

from actors.hook import hook
from actors.intake.circuit_breaker import RedisUnavailableError
from actors.middleware.pauses import publish_pauses
from actors.operations.cancel import cancel
from pipeline.catalogue import Pause, PauseKind
from pipeline.errors import PayloadError
from pipeline.models import Stage
from pipeline.values.gateway_values import plain_text

LONGEST_NAME = 512  # characters, as of an attachment's session

log = structlog.get_logger()

__all__ = ["cancel", "pause", "pauses", "resume"]


def pause(kind: PauseKind, name: str) -> bool:
    """Pauses a stage or a session until it is resumed: what waits keeps waiting; False if it was paused.

    It is written down when this returns, whether Redis answers or not. Workers begin nothing of it from then on, at the
    latest after a second; what they have begun goes on: of a stage this step, of a session all steps that follow.

    Raises:
        PayloadError: there is no such stage, or no session can have this name.
        RetryableError: `catalogue`, and nothing was paused.
    """
    paused = hook().services.catalogue.pauses.add(kind, _checked(kind, name))
    _spread()
    log.info("paused", kind=kind, name=name)
    return paused


def resume(kind: PauseKind, name: str) -> bool:
    """Lets a stage or a session go on; False if it was not paused.

    Raises:
        PayloadError: there is no such stage, or no session can have this name.
        RetryableError: `catalogue`, and it stays paused.
    """
    resumed = hook().services.catalogue.pauses.remove(kind, _checked(kind, name))
    _spread()
    log.info("resumed", kind=kind, name=name)
    return resumed


def pauses() -> list[Pause]:
    """Everything that is paused (kind, name, since in Unix ms): stages, then sessions, by name.

    Raises:
        RetryableError: `catalogue`.
    """
    return hook().services.catalogue.pauses.all()


def _checked(kind: str, name: str) -> str:
    if kind not in {"stage", "session"}:
        raise PayloadError("kind", "must be stage or session")
    if kind == "stage" and name not in set(Stage):
        raise PayloadError("stage", f"must be one of {', '.join(Stage)}")
    name = str(plain_text(name))
    if not 1 <= len(name) <= LONGEST_NAME:
        raise PayloadError(kind, f"must have 1 to {LONGEST_NAME} characters")
    return name


def _spread() -> None:
    """Tells Redis, or leaves it to the workers, who do so as soon as it answers."""
    at = hook()
    with suppress(RedisUnavailableError):
        at.breaker.call(partial(publish_pauses, at.queue, at.services.catalogue.pauses.all))
