"""SIGTERM in a worker: a repeated one is ignored, and one is sent when Dramatiq's master process ends.

honcho, Heroku and systemd send SIGTERM to the whole process group, and the master passes it on as well. Dramatiq takes
the second one for an order to drop everything. A master that is killed passes nothing on.
"""

from __future__ import annotations

import signal
import time
from types import FrameType

import dramatiq

from actors.middleware.parent_death import end_with_parent

REPEAT_WITHIN_S = 10.0  # on a busy machine the master passes the signal on seconds later


class Signals(dramatiq.Middleware):
    """Ignores SIGTERMs within ten seconds of the first, and asks for one when the master ends."""

    def after_process_boot(self, broker: dramatiq.Broker) -> None:
        handler = signal.getsignal(signal.SIGTERM)
        if not callable(handler):
            return
        first: list[float] = []

        def once(signum: int, frame: FrameType | None) -> None:
            if first and time.monotonic() - first[0] < REPEAT_WITHIN_S:
                return
            first.append(time.monotonic())
            handler(signum, frame)

        signal.signal(signal.SIGTERM, once)
        end_with_parent()
