"""Listening sockets that the starter of this process passes to it: sd_listen_fds(3), without libsystemd."""

from __future__ import annotations

import os
import socket

from pipeline.errors import SettingsError

FIRST_FD = 3  # SD_LISTEN_FDS_START
LISTEN_PID, LISTEN_FDS, LISTEN_FDNAMES = "LISTEN_PID", "LISTEN_FDS", "LISTEN_FDNAMES"
MAX_FDS = 100  # far more than anybody listens on; a larger number is a mistake
FAMILIES = frozenset({socket.AF_INET, socket.AF_INET6, socket.AF_UNIX})
REMEDY = "the .socket unit needs ListenStream= and Accept=no"


def inherited_sockets() -> list[socket.socket]:
    """The listening sockets that were passed to this process, in their order; none if there are none for it.

    Removes the variables and closes the sockets on exec(2), so that child processes inherit neither.

    Raises:
        SettingsError: the variables are malformed, or a descriptor is no listening stream socket.
    """
    pid, count, names = (os.environ.pop(name, "") for name in (LISTEN_PID, LISTEN_FDS, LISTEN_FDNAMES))
    if pid != str(os.getpid()):  # also if the variables are those of a parent process
        return []
    if not (count.isascii() and count.isdecimal() and int(count) <= MAX_FDS):
        raise SettingsError(f"{LISTEN_FDS}: {count[:20]!r} is no number of sockets up to {MAX_FDS}")
    named = names.split(":")
    return [
        _listening(FIRST_FD + index, named[index] if index < len(named) else "unknown") for index in range(int(count))
    ]


def _listening(descriptor: int, name: str) -> socket.socket:
    try:
        os.set_inheritable(descriptor, False)
        listener = socket.socket(fileno=descriptor)
    except OSError as error:
        raise _refused(descriptor, name, f"no socket ({error.strerror})") from None
    if listener.family not in FAMILIES or listener.type != socket.SOCK_STREAM:
        raise _refused(descriptor, name, f"no stream socket ({listener.family.name}, {listener.type.name})")
    if not listener.getsockopt(socket.SOL_SOCKET, socket.SO_ACCEPTCONN):
        raise _refused(descriptor, name, "a socket that does not listen")
    return listener


def _refused(descriptor: int, name: str, what: str) -> SettingsError:
    return SettingsError(f"{LISTEN_FDS}: the inherited descriptor {descriptor} ({name[:100]!r}) is {what}: {REMEDY}")
