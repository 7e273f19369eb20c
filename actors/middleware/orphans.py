"""Processes that do not outlive those who started them, whoever is killed."""

from __future__ import annotations

import ctypes
import os
import signal
from contextlib import suppress

PR_SET_PDEATHSIG = 1  # linux/prctl.h


def end_with_parent(how: signal.Signals = signal.SIGTERM, *, parent: int | None = None) -> None:
    """Lets the kernel send this process a signal when its parent ends. Elsewhere than on Linux it does nothing.

    `parent` is its process id, by which is seen that it has ended before the kernel was told.
    """
    with suppress(AttributeError, OSError):
        ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, how)
    if parent is not None and os.getppid() != parent:
        os.kill(os.getpid(), how)
