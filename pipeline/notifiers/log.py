"""Tells the log of each ending."""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import Any

import structlog

from pipeline.config.settings import Settings
from pipeline.http_client import HttpClient
from pipeline.models import Outcome

log: Any = structlog.get_logger(__name__)


def build(_settings: Settings, _outbound: HttpClient) -> Callable[[Outcome], None]:
    return write


def write(told: Outcome) -> None:
    """Writes the event under its name; what the sender wrote (caption, file name) stays out of the log.

    What is done is told at the level debug alone: the line of its last stage says the same.
    """
    if told.error is None and not log.is_enabled_for(logging.DEBUG):
        return
    facts = {
        "id": told.id,
        "session": told.session,
        "event_id": told.event_id,
        "kind": told.kind.value if told.kind else None,
        "name": told.name,
        "size": told.size,
        "error_code": told.error["code"] if told.error else None,
    }
    level = logging.DEBUG if told.error is None else logging.INFO
    log.log(level, told.type, **{name: value for name, value in facts.items() if value is not None})
