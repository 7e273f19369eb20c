"""`python -m cli.leash MODULE …` runs a module that ends when whoever started it is gone, were it by SIGKILL.

Without it a killed `esteira start` would leave workers behind, and the next start would find its folder in use.
"""

from __future__ import annotations

import ctypes
import os
import signal
import sys
from contextlib import suppress

PR_SET_PDEATHSIG = 1  # linux/prctl.h; it outlives exec


def end_with_parent(how: signal.Signals = signal.SIGTERM) -> None:
    """Lets the kernel send this process a signal when its parent ends. Elsewhere than on Linux it does nothing."""
    with suppress(AttributeError, OSError):
        ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, how)


if __name__ == "__main__":
    end_with_parent()
    os.execv(sys.executable, [sys.executable, "-m", *sys.argv[1:]])  # noqa: S606
