"""The log of requests that are no valid HTTP or WebSocket: anybody can send them, and each would be a line."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable

INTERVAL_S = 10.0  # between two lines with the same text
FAULTY = "Invalid"  # begins uvicorn's texts about them that are no warnings


class SeldomWarnings(logging.Filter):
    """Lets a warning pass once in INTERVAL_S, with the number of those that did not. Errors of the app always pass."""

    def __init__(self, *, clock: Callable[[], float] = time.monotonic) -> None:
        super().__init__()
        self._clock = clock
        self._logged: dict[str, tuple[float, int]] = {}  # text → when it was logged last, and how often it was not

    def filter(self, record: logging.LogRecord) -> bool:
        text = str(record.msg)  # without values, which a peer may choose
        if record.levelno > logging.WARNING and not text.startswith(FAULTY):
            return True
        logged_at, missed = self._logged.get(text, (float("-inf"), 0))
        if self._clock() - logged_at < INTERVAL_S:
            self._logged[text] = logged_at, missed + 1
            return False
        self._logged[text] = self._clock(), 0
        record.exc_info = None
        if missed:
            record.msg = f"{text} ({missed} more before)"
        return True


def request_logger(name: str) -> logging.Logger:
    """uvicorn's logger for one kind of connections, with seldom warnings."""
    logger = logging.getLogger(name)
    if not any(isinstance(known, SeldomWarnings) for known in logger.filters):
        logger.addFilter(SeldomWarnings())
    return logger
