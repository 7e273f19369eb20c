"""SIGTERM as it really comes: honcho, Heroku and systemd send it to the whole process group.

Dramatiq's master passes it on as well, so a worker gets it twice and takes the second for an order to drop everything.
A master that is killed passes nothing on, and its workers would go on without one.
"""

from __future__ import annotations

import signal
import time
from types import FrameType

import dramatiq

from actors.middleware.orphans import end_with_parent

ECHO_S = 10.0  # on a busy machine the master passes it on seconds later


class Signals(dramatiq.Middleware):
    """Ignores another SIGTERM that follows the first within ten seconds; sends one when the master is gone."""

    def after_process_boot(self, broker: dramatiq.Broker) -> None:
        handler = signal.getsignal(signal.SIGTERM)
        if not callable(handler):
            return
        first: list[float] = []

        def once(signum: int, frame: FrameType | None) -> None:
            if first and time.monotonic() - first[0] < ECHO_S:
                return
            first.append(time.monotonic())
            handler(signum, frame)

        signal.signal(signal.SIGTERM, once)
        end_with_parent()
