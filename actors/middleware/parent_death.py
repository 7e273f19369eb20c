"""Ends a process together with its parent, however the parent ends."""

from __future__ import annotations

import ctypes
import os
import signal
from contextlib import suppress

PR_SET_PDEATHSIG = 1  # linux/prctl.h


def end_with_parent(how: signal.Signals = signal.SIGTERM, *, parent: int | None = None) -> None:
    """Asks the kernel to send this process the signal `how` when its parent ends. Does nothing except on Linux.

    `parent` is the parent's process id: if the parent has ended before this call, the signal is sent at once.
    """
    with suppress(AttributeError, OSError):
        ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, how)
    if parent is not None and os.getppid() != parent:
        os.kill(os.getpid(), how)
