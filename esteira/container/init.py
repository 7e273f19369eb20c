"""Process 1 of a container: passes signals on to the program below it and reaps every process that ends.

The kernel ignores signals to process 1 that it has no handler for, and gives it the processes whose parents have ended.
"""

from __future__ import annotations

import os
import signal
from collections.abc import Callable

from pipeline.private_memory import hide_memory

PASSED_ON = frozenset(
    {signal.SIGHUP, signal.SIGINT, signal.SIGQUIT, signal.SIGTERM, signal.SIGUSR1, signal.SIGUSR2, signal.SIGWINCH}
)
WAITED_FOR = PASSED_ON | {signal.SIGCHLD}


def run_below(program: Callable[[], int]) -> int:
    """Runs `program` in a child of its own session. Returns its exit status, or 128 + the signal that killed it.

    In a session of its own a Ctrl-C at a terminal reaches the child once: through this process.
    """
    signal.pthread_sigmask(signal.SIG_BLOCK, WAITED_FOR)  # before the child, so that no signal is lost
    child = os.fork()
    if child == 0:
        os.setsid()
        signal.pthread_sigmask(signal.SIG_UNBLOCK, WAITED_FOR)
        os._exit(program())
    if os.environ.get("ALLOW_DEBUGGERS", "").lower() not in {"1", "true", "yes", "on"}:
        hide_memory()  # the environment holds the secrets
    while True:
        number = signal.sigwait(WAITED_FOR)
        if number != signal.SIGCHLD:
            os.kill(child, number)
        elif (status := _reap(child)) is not None:
            return status


def _reap(child: int) -> int | None:
    """Reaps the processes that have ended; returns the exit status of `child` if it is one of them."""
    ended = None
    while True:
        try:
            pid, status = os.waitpid(-1, os.WNOHANG)
        except ChildProcessError:
            return ended
        if pid == 0:
            return ended
        if pid == child:
            code = os.waitstatus_to_exitcode(status)
            ended = code if code >= 0 else 128 - code
