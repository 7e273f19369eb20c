"""Reports to the service manager: this process is ready, reloads or stops. As sd_notify(3), without libsystemd."""

from __future__ import annotations

import os
import socket
import time
from contextlib import suppress

NOTIFY_SOCKET = "NOTIFY_SOCKET"  # environment variable: the address of the manager, `@` for a zero byte
READY = "READY=1"
STOPPING = "STOPPING=1"
SEND_S = 1.0  # a manager that takes no message for this long does not get it


class ServiceManager:
    """The service manager of this process; without one, nothing is sent.

    `address` is a path, or `@` and an abstract name, as in NOTIFY_SOCKET.
    """

    def __init__(self, address: str = "") -> None:
        self._address = "\0" + address[1:] if address.startswith("@") else address

    @classmethod
    def of_environment(cls) -> ServiceManager:
        """The manager that NOTIFY_SOCKET names. Removes the variable: child processes do not speak for this one."""
        return cls(os.environ.pop(NOTIFY_SOCKET, ""))

    def tell(self, *states: str) -> None:
        """Sends states, such as READY. A manager that is away or takes nothing does not get them."""
        if self._address[:1] not in {"/", "\0"}:
            return
        with suppress(OSError), socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sender:
            sender.settimeout(SEND_S)
            sender.connect(self._address)
            sender.send("\n".join(states).encode())


def reloading() -> tuple[str, str]:
    """The states that begin a reload; READY ends it. The manager compares the time with that of its order."""
    return "RELOADING=1", f"MONOTONIC_USEC={time.monotonic_ns() // 1000}"
