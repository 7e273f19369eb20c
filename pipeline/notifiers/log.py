"""Logs every result."""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import Any

import structlog

from pipeline.config.settings import Settings
from pipeline.http_client import HttpClient
from pipeline.models import Outcome

log: Any = structlog.get_logger(__name__)


def build(_settings: Settings, _http_client: HttpClient) -> Callable[[Outcome], None]:
    return write


def write(outcome: Outcome) -> None:
    """Logs the event under its type, without what the sender wrote (caption, file name).

    Success is logged at the level debug, because the line of the last stage says the same.
    """
    if outcome.error is None and not log.is_enabled_for(logging.DEBUG):
        return
    fields = {
        "id": outcome.id,
        "session": outcome.session,
        "event_id": outcome.event_id,
        "kind": outcome.kind.value if outcome.kind else None,
        "name": outcome.name,
        "size": outcome.size,
        "error_code": outcome.error["code"] if outcome.error else None,
    }
    level = logging.DEBUG if outcome.error is None else logging.INFO
    log.log(level, outcome.type, **{name: value for name, value in fields.items() if value is not None})
