"""Hides the memory of this process from other processes of the same user. Linux only."""

from __future__ import annotations

import ctypes
import os

PR_SET_DUMPABLE = 4  # linux/prctl.h

_libc = ctypes.CDLL(None, use_errno=True)


def hide_memory() -> None:
    """No other process of the same user may read this process's memory, environment or descriptors, or trace it.

    The kernel writes no core dump either. A change of the user and exec(2) undo it; a forked process inherits it.

    Raises:
        OSError: the kernel refuses.
    """
    if hasattr(_libc, "prctl") and _libc.prctl(PR_SET_DUMPABLE, 0, 0, 0, 0) != 0:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number))
