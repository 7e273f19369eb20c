"""Runs the five stages of an attachment in a thread while there is no queue, so that the request does not wait."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable

import structlog

log = structlog.get_logger(__name__)


class BackgroundRunner:
    """Runs each function in a new thread, until it is closed. The caller limits how many run at the same time.

    The threads do not keep the process alive: workers continue what is unfinished when the runner is closed.
    """

    def __init__(self) -> None:
        self._threads: set[threading.Thread] = set()
        self._lock = threading.Lock()
        self._closed = False

    def __call__(self, work: Callable[[], object]) -> bool:
        """Starts a function and returns at once. False if it was not started."""
        thread = threading.Thread(target=self._run, args=(work,), name="background", daemon=True)
        with self._lock:
            if self._closed:
                return False
            try:
                thread.start()
            except RuntimeError:  # the system cannot start another thread
                return False
            self._threads.add(thread)
            return True

    def close(self, *, within_s: float) -> None:
        """Starts no more functions and waits for the running ones, at most `within_s` seconds."""
        with self._lock:
            self._closed = True
            running = list(self._threads)
        deadline = time.monotonic() + within_s
        for thread in running:
            thread.join(max(0.0, deadline - time.monotonic()))
        if unfinished := sum(thread.is_alive() for thread in running):
            log.warning("attachments left to the workers", count=unfinished)

    def _run(self, work: Callable[[], object]) -> None:
        try:
            work()
        finally:
            with self._lock:
                self._threads.discard(threading.current_thread())
