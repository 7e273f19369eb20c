"""The restrictions that a child puts on itself, for good, before it reads untrusted bytes.

Each is a layer with a name. With `strict` a layer that cannot be set up is an error, except the namespaces: many hosts
and containers forbid them, and the system call filter refuses all sockets anyway.
"""

from __future__ import annotations

import errno
import os
import platform
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from pipeline.private_memory import hide_memory
from pipeline.sandbox import landlock, libc, privileges, seccomp
from pipeline.sandbox.files import MAX_FILES
from pipeline.sandbox.terms import Confinement

MAX_OPEN_FILES = 64 + MAX_FILES  # a call that opens more fails with a retryable error
OPTIONAL = frozenset({"namespaces", "user namespace"})
THREADS_END_S = 2.0  # seconds in which a thread that has ended disappears

_report: dict[str, Any] = {}


class ConfinementError(Exception):
    """Raised when a required layer cannot be set up. `number` is the errno."""

    def __init__(self, layer: str, number: int) -> None:
        super().__init__(f"{layer}: {os.strerror(number)}")
        self.layer = layer
        self.number = number


def confine(terms: Confinement, *, lifeline: int) -> None:
    """Sets up all layers. The descriptor `lifeline` cannot be closed afterwards.

    Raises:
        ConfinementError: with `strict`, a layer cannot be set up.
    """
    status = os.open("/proc/self/status", os.O_RDONLY)
    layers = _Layers(strict=terms.strict)
    _leave_user(terms, layers)
    layers.set_up("capabilities", lambda: privileges.drop_capabilities(platform.machine()))
    layers.set_up("memory", hide_memory)
    layers.set_up("threads", privileges.limit_threads)
    privileges.limit_resources(MAX_OPEN_FILES)
    layers.set_up("new privileges", privileges.forbid_new_privileges)
    network = str(Path("/proc/self/ns/net").readlink())
    layers.set_up("landlock", lambda: _restrict_files(terms.readable))
    layers.set_up("seccomp", lambda: seccomp.install(lifeline))
    _report.update(failed=layers.failed, landlock=layers.values.get("landlock", 0), network=network)
    _report.update(threads=layers.values.get("threads", 0), status=os.pread(status, 8192, 0).decode())
    os.close(status)


def report() -> dict[str, Any]:
    """What confine() has set up: `failed` layers with their errno, the Landlock version, /proc/self/status after it."""
    return _report


class _Layers:
    def __init__(self, *, strict: bool) -> None:
        self._strict = strict
        self.failed: dict[str, int] = {}
        self.values: dict[str, int | None] = {}

    def set_up(self, name: str, action: Callable[[], int | None]) -> bool:
        try:
            self.values[name] = action()
        except OSError as error:
            number = error.errno or errno.EPERM
            self.failed[name] = number
            if self._strict and name not in OPTIONAL:
                raise ConfinementError(name, number) from error
            return False
        self.failed.pop(name, None)
        return True


def _leave_user(terms: Confinement, layers: _Layers) -> None:
    """Leaves the namespaces and the user. Root needs its privileges for both, another user a user namespace.

    A child of root enters a user namespace too, if it may: the limit of threads then counts no other process.
    """
    is_root = os.geteuid() == 0
    separate = is_root and layers.set_up("namespaces", lambda: privileges.leave_namespaces(with_user=False))
    privileges.drop_bounding_set()
    if is_root:
        layers.set_up("user", lambda: _change_user(terms.user))
    if separate:
        layers.set_up("user namespace", lambda: libc.unshare(privileges.CLONE_NEWUSER))
    else:
        layers.set_up("namespaces", lambda: privileges.leave_namespaces(with_user=True))
    privileges.drop_bounding_set()


def _change_user(user: tuple[int, int] | None) -> None:
    if user is None:
        raise PermissionError(errno.EPERM, "no unprivileged user is known")
    privileges.change_user(*user)


def _restrict_files(readable: tuple[str, ...]) -> int:
    # Landlock restricts the calling thread alone. A library that keeps a thread would escape it.
    deadline = time.monotonic() + THREADS_END_S
    while len(list(Path("/proc/self/task").iterdir())) > 1:
        if time.monotonic() > deadline:
            raise OSError(errno.EBUSY, os.strerror(errno.EBUSY))
        time.sleep(0.001)
    return landlock.restrict(readable)
