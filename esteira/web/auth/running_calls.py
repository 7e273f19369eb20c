"""Limits how many calls of one token are processed at the same time, so that others get their turn."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager

from pipeline.errors import Code, RetryableError
from pipeline.security.callers import Caller

MAX_CALLS = 16  # of one token in one process; there are 40 threads
RETRY_AFTER_S = 1


class RunningCalls:
    """The calls that are being processed, counted by token. For the event loop only."""

    def __init__(self) -> None:
        self._running: Counter[str] = Counter()

    @contextmanager
    def slot(self, caller: Caller) -> Iterator[None]:
        """Counts one call until the block ends. Calls with the API_TOKEN are not limited.

        Raises:
            RetryableError: `too_many_requests`.
        """
        token_id = caller.token_id
        if token_id is None:
            yield
            return
        if self._running[token_id] >= MAX_CALLS:
            message = f"this token has {MAX_CALLS} calls that are not answered yet"
            raise RetryableError(Code.TOO_MANY_REQUESTS, message, retry_after=RETRY_AFTER_S)
        self._running[token_id] += 1
        try:
            yield
        finally:
            self._running[token_id] -= 1
            if not self._running[token_id]:
                del self._running[token_id]
