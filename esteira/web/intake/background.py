"""What must not hold a request: the five steps of an attachment while there is no queue."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable

import structlog

log = structlog.get_logger(__name__)


class BackgroundRunner:
    """Runs functions in threads of their own, until it is closed. How many at a time is for its caller to bound.

    The threads do not keep the process: work that has not ended when it is closed is left to the workers.
    """

    def __init__(self) -> None:
        self._threads: set[threading.Thread] = set()
        self._lock = threading.Lock()
        self._closed = False

    def __call__(self, work: Callable[[], object]) -> bool:
        """Begins it and returns at once; False if nothing more is begun."""
        thread = threading.Thread(target=self._run, args=(work,), name="aside", daemon=True)
        with self._lock:
            if self._closed:
                return False
            try:
                thread.start()
            except RuntimeError:  # the machine has no more threads
                return False
            self._threads.add(thread)
            return True

    def close(self, *, within_s: float) -> None:
        """Begins nothing more and waits for what has begun, at most so long."""
        with self._lock:
            self._closed = True
            running = list(self._threads)
        deadline = time.monotonic() + within_s
        for thread in running:
            thread.join(max(0.0, deadline - time.monotonic()))
        if left := sum(thread.is_alive() for thread in running):
            log.warning("attachments left to the workers", count=left)

    def _run(self, work: Callable[[], object]) -> None:
        try:
            work()
        finally:
            with self._lock:
                self._threads.discard(threading.current_thread())
