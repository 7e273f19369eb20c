"""System calls that Python has no function for, through libc. Linux only."""

from __future__ import annotations

import ctypes
import os

_libc = ctypes.CDLL(None, use_errno=True)


def prctl(option: int, *arguments: int) -> int:
    """prctl(2). Raises OSError if it fails."""
    padded = (*arguments, 0, 0, 0, 0)[:4]
    return _checked(_libc.prctl(option, *map(ctypes.c_ulong, padded)))


def unshare(flags: int) -> None:
    """unshare(2). Raises OSError if it fails."""
    _checked(_libc.unshare(flags))


def syscall(number: int, *arguments: object) -> int:
    """A system call by its number; integers are passed as longs. Raises OSError if it fails."""
    converted = [ctypes.c_long(value) if isinstance(value, int) else value for value in arguments]
    return _checked(_libc.syscall(ctypes.c_long(number), *converted))


def tune_allocator(options: dict[int, int]) -> None:
    """Sets options of malloc by mallopt(3); without effect in a libc that has no such function."""
    if hasattr(_libc, "mallopt"):
        for option, value in options.items():
            _libc.mallopt(option, value)


def _checked(result: int) -> int:
    if result < 0:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number))
    return result
