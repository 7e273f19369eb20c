"""Pauses and resumes a stage or a session."""

from __future__ import annotations

from contextlib import suppress
from functools import partial

import structlog

from actors.hook import hook
from actors.intake.circuit_breaker import RedisUnavailableError
from actors.middleware.pauses import publish_pauses
from pipeline.catalogue import Pause, PauseKind
from pipeline.errors import PayloadError
from pipeline.models import Stage
from pipeline.values.gateway_values import plain_text

MAX_NAME = 512  # characters, as for an attachment's session
MAX_REASON = 200  # characters

log = structlog.get_logger()


def pause(kind: PauseKind, name: str, *, paused_by: str | None = None, reason: str | None = None) -> bool:
    """Pauses a stage or a session until it is resumed; False if it was paused already.

    `paused_by` and `reason` are shown to people: never pass a secret.

    The pause is recorded when this returns, even if Redis is away. Workers start nothing of it after at most a second.
    What they have started continues: for a stage the current step, for a session all remaining steps.

    Raises:
        PayloadError: the stage does not exist, the name is no valid session name, or the reason is too long.
        RetryableError: `catalogue`, and nothing was paused.
    """
    details = {"paused_by": paused_by, "reason": _checked_reason(reason)}
    added = hook().services.catalogue.pauses.add(kind, _checked(kind, name), **details)
    _publish()
    log.info("paused", kind=kind, name=name)
    return added


def resume(kind: PauseKind, name: str) -> bool:
    """Resumes a stage or a session; False if it was not paused.

    Raises:
        PayloadError: the stage does not exist, or the name is no valid session name.
        RetryableError: `catalogue`, and it stays paused.
    """
    removed = hook().services.catalogue.pauses.remove(kind, _checked(kind, name))
    _publish()
    log.info("resumed", kind=kind, name=name)
    return removed


def pauses() -> list[Pause]:
    """All pauses: stages, then sessions, by name.

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
    if not 1 <= len(name) <= MAX_NAME:
        raise PayloadError(kind, f"must have 1 to {MAX_NAME} characters")
    return name


def _checked_reason(reason: str | None) -> str | None:
    shown = " ".join(str(plain_text(reason or "")).split())
    if len(shown) > MAX_REASON:
        raise PayloadError("reason", f"must have at most {MAX_REASON} characters")
    return shown or None


def _publish() -> None:
    """Publishes the pauses to Redis; while it is away, the workers do so later."""
    listener_hook = hook()
    with suppress(RedisUnavailableError):
        listener_hook.breaker.call(
            partial(publish_pauses, listener_hook.queue, listener_hook.services.catalogue.pauses.all)
        )
