"""Logs errors of the event loop, and only once in a while if file descriptors run out."""

from __future__ import annotations

import asyncio
from typing import Any

import structlog

LOG_INTERVAL_S = 10.0

log = structlog.get_logger(__name__)


class LoopExceptionHandler:
    """An exception handler for the event loop: asyncio's own, except when file descriptors run out.

    asyncio reports that error for every connection in the backlog. To log each of them would keep the process busy for
    longer than the shortage lasts.
    """

    def __init__(self) -> None:
        self._logged_at = float("-inf")

    def __call__(self, loop: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
        if "out of system resource" not in context["message"]:
            loop.default_exception_handler(context)
        elif loop.time() - self._logged_at >= LOG_INTERVAL_S:
            self._logged_at = loop.time()
            error = type(context.get("exception")).__name__
            log.error("no file descriptors left: connections are not accepted", error=error, remedy="ulimit -n")
