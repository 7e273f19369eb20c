"""A part of Esteira under the supervisor: how it is started, and when it is started again after it died."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress

from esteira.cli.supervisor.parent_guard import PARENT_PID, SOCKETS
from esteira.cli.supervisor.readiness import Readiness

MAX_DELAY_S = 30.0  # between two starts of a part that dies each time
STEADY_S = 10.0  # a part that ran this long has recovered: its next death is again the first
GRACE_S = 30.0  # seconds after SIGTERM until a part is killed; longer than REQUEUE_S, in which workers requeue
LAST_LINES = 3  # of each process, which are kept for the report of a start that failed


class Running:
    """A process of a part. `readiness`: where it says that it is ready, or None if it does not."""

    def __init__(self, process: subprocess.Popen[bytes], readiness: Readiness | None = None) -> None:
        self.process = process
        self.last_lines: deque[str] = deque(maxlen=LAST_LINES)
        self._readiness = readiness

    @property
    def has_ended(self) -> bool:
        """Whether its end is known: the supervisor has taken its exit status."""
        return self.process.returncode is not None

    def is_ready(self) -> bool:
        """Whether it lives and has said that it is ready."""
        return not self.has_ended and (self._readiness is None or self._readiness.has_been_said())

    def send(self, number: signal.Signals) -> None:
        """Sends the signal to the process if it lives; SIGKILL to its process group."""
        if self.has_ended:
            return
        if number is signal.SIGKILL:
            with suppress(ProcessLookupError):  # it leads no group
                os.killpg(self.process.pid, number)
        self.process.send_signal(number)

    def close(self) -> int:
        """Takes the exit status of the process after its end."""
        if self._readiness is not None:
            self._readiness.close()
        return self.process.wait()


class Part:
    """One program. `launch` starts it: the stdout of its process is a pipe whose lines are printed, or None."""

    def __init__(self, name: str, launch: Callable[[], Running]) -> None:
        self.name = name
        self.running: Running | None = None
        self.others: list[Running] = []  # processes before it that still run, and one that is to follow it
        self.due_at: float | None = None  # when it is started again, in seconds of the supervisor's clock
        self._launch = launch
        self._started_at = 0.0
        self._deaths = 0

    def is_ready(self) -> bool:
        """Whether its process lives and has said that it is ready."""
        return self.running is not None and self.running.is_ready()

    def launch(self) -> Running:
        """Starts a process. Must be called in the main thread: the kernel ends it when the calling thread ends."""
        return self._launch()

    def use(self, running: Running, now: float) -> None:
        """Makes this process the one that is started again if it dies. The process before it becomes another one."""
        if self.running is not None and not self.running.has_ended:
            self.others.append(self.running)
        if running in self.others:
            self.others.remove(running)
        self.running, self.due_at, self._started_at = running, None, now

    def retire(self) -> Running | None:
        """Forgets the process, and a planned restart; returns the process if it lives."""
        retired, self.running, self.due_at = self.running, None, None
        if retired is None or retired.has_ended:
            return None
        self.others.append(retired)
        return retired

    def plan_restart(self, now: float) -> float:
        """Plans the next start after its death; returns the delay in seconds: 0, 1, 2, 4, … MAX_DELAY_S."""
        self._deaths = 1 if now - self._started_at >= STEADY_S else self._deaths + 1
        delay_s = restart_delay_s(self._deaths)
        self.due_at = now + delay_s
        return delay_s

    def processes(self) -> list[Running]:
        """All of its processes that may still run."""
        return [*self.others, *([self.running] if self.running else [])]


def restart_delay_s(deaths: int) -> float:
    """The seconds before a start after so many deaths in a row."""
    return min(MAX_DELAY_S, 2.0 ** min(deaths - 2, 10)) if deaths > 1 else 0.0


def command_part(
    name: str,
    command: Callable[[], Sequence[str]],
    environment: Mapping[str, str],
    *,
    sockets: Sequence[socket.socket] = (),
) -> Part:
    """A part that runs a command in a process group of its own, so that a Ctrl-C reaches the supervisor alone.

    The command is asked for at each start. `sockets` are passed to it; it says when it is ready.
    """
    descriptors = [listener.fileno() for listener in sockets]

    def launch() -> Running:
        readiness = Readiness()
        passed = {SOCKETS: ",".join(map(str, descriptors))} if descriptors else {}
        try:
            process = subprocess.Popen(  # noqa: S603
                command(),
                env={**environment, PARENT_PID: str(os.getpid()), **passed, **readiness.environment},
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                start_new_session=True,
                pass_fds=descriptors,
            )
        except OSError:
            readiness.close()
            raise
        return Running(process, readiness)

    return Part(name, launch)
