"""The end of a child: it never outlives its parent, whatever runs in it."""

from __future__ import annotations

import fcntl
import os
import signal


def restore_signals() -> None:
    """Restores the signals that end this process: the parent may have ignored or blocked them."""
    for number in (signal.SIGXCPU, signal.SIGTERM):
        signal.signal(number, signal.SIG_DFL)
    signal.pthread_sigmask(signal.SIG_SETMASK, [])


def die_with_parent(lifeline: int) -> None:
    """Makes the kernel kill this process, however busy it is, when the parent's end of this pipe is closed."""
    # Not PR_SET_PDEATHSIG: it fires when the thread that started this process ends, which the parent may outlive. The
    # signal is sent when the last process that holds the other end is gone. SIGKILL, because foreign code could ignore
    # another one; the system call filter lets nothing close the descriptor or change its owner.
    fcntl.fcntl(lifeline, fcntl.F_SETSIG, signal.SIGKILL)
    fcntl.fcntl(lifeline, fcntl.F_SETOWN, os.getpid())
    fcntl.fcntl(lifeline, fcntl.F_SETFL, fcntl.fcntl(lifeline, fcntl.F_GETFL) | os.O_ASYNC)
