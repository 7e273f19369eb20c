"""`python -m esteira.cli.supervisor.parent_guard MODULE …` runs a module as a child and ties it to the parent process.

The child ends when the process that started the guard ends, so that a killed `esteira start` leaves no workers behind.
When the child ends, the guard ends all processes of its process group: workers that outlive a killed master would go on
beside those of the next master.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from functools import partial

from actors.middleware.parent_death import end_with_parent
from pipeline.private_memory import hide_memory

PARENT_PID = "ESTEIRA_PARENT_PID"  # environment variable: the process ID of the guard's parent


def run(arguments: list[str]) -> int:
    """Runs `python -m` with these arguments to its end; returns its exit status, or 128 + the signal that killed it.

    The guard must lead its own process group, because it ends the rest of the group afterwards.
    """
    if os.environ.get("ALLOW_DEBUGGERS", "").lower() not in {"1", "true", "yes", "on"}:
        hide_memory()  # the environment holds the secrets
    parent = os.environ.pop(PARENT_PID, "")
    end_with_parent(parent=int(parent) if parent.isdecimal() else None)
    child = subprocess.Popen(  # noqa: S603
        [sys.executable, "-m", *arguments],
        preexec_fn=partial(end_with_parent, parent=os.getpid()),  # noqa: PLW1509  (this process has one thread)
    )
    for forwarded in (signal.SIGINT, signal.SIGTERM):
        signal.signal(forwarded, lambda number, _: child.send_signal(number))
    code = child.wait()
    if os.getpgrp() == os.getpid():
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
        os.killpg(0, signal.SIGTERM)
    return code if code >= 0 else 128 - code


if __name__ == "__main__":
    sys.exit(run(sys.argv[1:]))
