"""A part of Esteira under the supervisor: how it is started, and when it is started again after it died."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Callable, Mapping, Sequence

from esteira.cli.supervisor.parent_guard import PARENT_PID

MAX_DELAY_S = 30.0  # between two starts of a part that dies each time
STEADY_S = 60.0  # a part that ran this long has recovered: its next death is again the first
GRACE_S = 30.0  # seconds after SIGTERM until a part is killed; longer than REQUEUE_S, in which workers requeue


class Part:
    """One program. `launch` starts it: its stdout is a pipe whose lines are printed, or None."""

    def __init__(self, name: str, launch: Callable[[], subprocess.Popen[bytes]]) -> None:
        self.name = name
        self.process: subprocess.Popen[bytes] | None = None
        self.due_at: float | None = None  # when it is started again, in seconds of the supervisor's clock
        self._launch = launch
        self._started_at = 0.0
        self._deaths = 0

    def start(self, now: float) -> subprocess.Popen[bytes]:
        """Starts it. Must be called in the main thread: the kernel ends the part when the calling thread ends."""
        self.due_at = None
        self._started_at = now
        self.process = self._launch()
        return self.process

    def plan_restart(self, now: float) -> float:
        """Plans the next start after its death; returns the delay in seconds: 1, 2, 4, … MAX_DELAY_S."""
        self._deaths = 1 if now - self._started_at >= STEADY_S else self._deaths + 1
        delay_s = restart_delay_s(self._deaths)
        self.due_at = now + delay_s
        return delay_s


def restart_delay_s(deaths: int) -> float:
    """The seconds before a start after so many deaths in a row."""
    return min(MAX_DELAY_S, 2.0 ** min(deaths - 1, 10))


def command_part(name: str, command: Sequence[str], environment: Mapping[str, str]) -> Part:
    """A part that runs a command in a process group of its own, so that a Ctrl-C reaches the supervisor alone."""

    def launch() -> subprocess.Popen[bytes]:
        return subprocess.Popen(  # noqa: S603
            command,
            env={**environment, PARENT_PID: str(os.getpid())},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )

    return Part(name, launch)
