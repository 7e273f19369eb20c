"""Landlock: this process may read some files and directories, and open nothing else. Linux 5.13 and later."""

from __future__ import annotations

import ctypes
import os
import stat
from collections.abc import Iterable
from contextlib import suppress

from pipeline.sandbox import libc

# linux/landlock.h; the numbers of the calls are the same on all machines.
CREATE_RULESET, ADD_RULE, RESTRICT_SELF = 444, 445, 446
QUERY_VERSION, RULE_PATH_BENEATH = 1, 1
READ_FILE, READ_DIR = 1 << 2, 1 << 3
# Rights over files that a ruleset of this ABI version can restrict: 13, then also REFER, TRUNCATE, IOCTL_DEV.
FILE_RIGHTS = {1: (1 << 13) - 1, 2: (1 << 14) - 1, 3: (1 << 15) - 1, 5: (1 << 16) - 1}
TCP_SINCE, TCP = 4, 0b11  # bind and connect
SCOPES_SINCE, SCOPES = 6, 0b11  # connections to abstract sockets, and signals, outside of the domain


class _RulesetAttributes(ctypes.Structure):
    _fields_ = (("fs", ctypes.c_uint64), ("net", ctypes.c_uint64), ("scoped", ctypes.c_uint64))


class _PathBeneath(ctypes.Structure):
    _pack_ = 1
    _fields_ = (("allowed", ctypes.c_uint64), ("path", ctypes.c_int32))


def abi_version() -> int:
    """The kernel's version of Landlock. Raises OSError if it has none, or a container forbids it."""
    return libc.syscall(CREATE_RULESET, None, 0, QUERY_VERSION)


def restrict(readable: Iterable[str]) -> int:
    """Restricts this thread, for good, to reading these files and below these directories. Returns the ABI version.

    Also TCP, abstract sockets and signals to other processes are refused if the kernel's version can. A path that does
    not exist, or that this process may not open, is left out. Descriptors that are open already keep working.

    Raises:
        OSError: the kernel has no Landlock, or a container forbids it.
    """
    version = abi_version()
    attributes = _RulesetAttributes(fs=FILE_RIGHTS[max(known for known in FILE_RIGHTS if known <= version)])
    attributes.net = TCP if version >= TCP_SINCE else 0
    attributes.scoped = SCOPES if version >= SCOPES_SINCE else 0
    size = 8 if version < TCP_SINCE else 16 if version < SCOPES_SINCE else 24
    ruleset = libc.syscall(CREATE_RULESET, ctypes.byref(attributes), size, 0)
    try:
        for path in readable:
            _allow_reading(ruleset, path)
        libc.syscall(RESTRICT_SELF, ruleset, 0)
    finally:
        os.close(ruleset)
    return version


def _allow_reading(ruleset: int, path: str) -> None:
    with suppress(OSError):
        opened = os.open(path, os.O_PATH | os.O_CLOEXEC)
        try:
            rights = READ_FILE | READ_DIR if stat.S_ISDIR(os.fstat(opened).st_mode) else READ_FILE
            libc.syscall(ADD_RULE, ruleset, RULE_PATH_BENEATH, ctypes.byref(_PathBeneath(rights, opened)), 0)
        finally:
            os.close(opened)
