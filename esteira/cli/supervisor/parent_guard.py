"""`python -m esteira.cli.supervisor.parent_guard MODULE …` runs a module as a child and ties it to the parent process.

The child ends when the process that started the guard ends, so that a killed `esteira start` leaves no workers behind.
When the child ends, the guard ends all processes of its process group: workers that outlive a killed master would go on
beside those of the next master. The guard passes listening sockets on as systemd does.

After an upgrade this module is started by an `esteira start` of the version before: its variables stay.
"""

from __future__ import annotations

import fcntl
import os
import signal
import subprocess
import sys
from functools import partial

from actors.middleware.parent_death import end_with_parent
from pipeline.private_memory import hide_memory
from pipeline.service_manager.sockets import FIRST_FD, LISTEN_FDS, LISTEN_PID

PARENT_PID = "ESTEIRA_PARENT_PID"  # environment variable: the process ID of the guard's parent
SOCKETS = "ESTEIRA_SOCKETS"  # environment variable: the descriptors of the child's listening sockets, separated by `,`


def run(arguments: list[str]) -> int:
    """Runs `python -m` with these arguments to its end; returns its exit status, or 128 + the signal that killed it.

    The guard must lead its own process group, because it ends the rest of the group afterwards.
    """
    if os.environ.get("ALLOW_DEBUGGERS", "").lower() not in {"1", "true", "yes", "on"}:
        hide_memory()  # the environment holds the secrets
    parent = os.environ.pop(PARENT_PID, "")
    end_with_parent(parent=int(parent) if parent.isdecimal() else None)
    child = _start([sys.executable, "-P", "-m", *arguments], os.environ.pop(SOCKETS, ""))
    for forwarded in (signal.SIGINT, signal.SIGTERM):
        signal.signal(forwarded, lambda number, _: child.send_signal(number))
    code = child.wait()
    if os.getpgrp() == os.getpid():
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
        os.killpg(0, signal.SIGTERM)
    return code if code >= 0 else 128 - code


def _start(command: list[str], sockets: str) -> subprocess.Popen[bytes]:
    """Starts the child, with the sockets at the descriptors from FIRST_FD on, which the guard itself closes."""
    passed = [int(descriptor) for descriptor in sockets.split(",") if descriptor]
    last = FIRST_FD + len(passed)
    moved = [fcntl.fcntl(descriptor, fcntl.F_DUPFD_CLOEXEC, last) for descriptor in passed]
    for descriptor in passed:
        os.close(descriptor)
    for target, descriptor in enumerate(moved, FIRST_FD):
        os.dup2(descriptor, target)
    try:
        return subprocess.Popen(  # noqa: S603
            command,
            pass_fds=range(FIRST_FD, last),
            preexec_fn=partial(_prepare_child, os.getpid(), len(passed)),  # noqa: PLW1509  (this process has one thread)
        )
    finally:
        for descriptor in (*range(FIRST_FD, last), *moved):
            os.close(descriptor)


def _prepare_child(guard: int, sockets: int) -> None:
    end_with_parent(parent=guard)
    if sockets:
        os.environ[LISTEN_PID], os.environ[LISTEN_FDS] = str(os.getpid()), str(sockets)


if __name__ == "__main__":
    sys.exit(run(sys.argv[1:]))
