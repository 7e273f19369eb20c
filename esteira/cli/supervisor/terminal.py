"""Whether this process belongs to a terminal, whose end sends SIGHUP."""

from __future__ import annotations

import os


def has_terminal() -> bool:
    """Whether this process has a controlling terminal."""
    try:
        os.close(os.open("/dev/tty", os.O_RDWR | os.O_NOCTTY))
    except OSError:
        return False
    return True
