"""A background thread that exists only while there is work: each signal starts it, unless it runs."""

from __future__ import annotations

import threading
from collections.abc import Callable


class SignalledThread:
    """Calls `work` in a daemon thread when it is signalled; thread-safe.

    A signal during a call causes another call after it. At rest there is no thread.
    """

    def __init__(self, name: str, work: Callable[[], object]) -> None:
        self._name = name
        self._work = work
        self._due = threading.Event()
        self._running = threading.Lock()

    def signal(self) -> None:
        """Requests a call. Returns at once. If no thread can be started, the next signal tries again."""
        self._due.set()
        if not self._running.acquire(blocking=False):
            return
        try:
            threading.Thread(target=self._run, name=self._name, daemon=True).start()
        except RuntimeError:
            self._running.release()

    def stop(self, timeout_s: float) -> None:
        """Waits for the end of the thread, at most `timeout_s`; no other one is started after it."""
        self._running.acquire(timeout=timeout_s)

    def _run(self) -> None:
        try:
            while self._due.is_set():
                self._due.clear()
                self._work()
        finally:
            self._running.release()
        if self._due.is_set():  # signalled between the last look and the release
            self.signal()
