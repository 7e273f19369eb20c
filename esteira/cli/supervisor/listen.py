"""The listening sockets of the web app, which the supervisor opens, holds and passes to each web process."""

from __future__ import annotations

import errno
import socket
from collections.abc import Iterable
from contextlib import ExitStack
from typing import Any

from pipeline.errors import SettingsError

MAX_WAITING = 65_535  # connections that wait for the web app; the kernel takes at most its net.core.somaxconn
BUSY = frozenset({errno.EADDRINUSE, errno.EACCES})  # another PORT helps
ABSENT = frozenset({errno.EADDRNOTAVAIL, errno.EAFNOSUPPORT})  # such as ::1 on a machine without IPv6


def listen(host: str, port: int) -> list[socket.socket]:
    """Listens on the addresses of the host; on those that this machine has, if a name has several.

    Raises:
        SettingsError: it cannot listen on any of them, or one is in use.
    """
    try:
        found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
        with ExitStack() as opened:
            listeners = _listeners(dict.fromkeys((family, address) for family, _, _, _, address in found), opened)
            opened.pop_all()
            return listeners
    except OSError as error:
        name = "PORT" if error.errno in BUSY else "WEB_HOST"
        reason = f"cannot listen on {host}:{port}: {error.strerror}"
        raise SettingsError(f"{name}: {reason}: choose another {name}, or use --no-web") from None


def _listeners(addresses: Iterable[tuple[int, Any]], opened: ExitStack) -> list[socket.socket]:
    listeners, absent = [], None
    for family, address in addresses:
        try:
            listeners.append(opened.enter_context(_listener(family, address)))
        except OSError as error:
            if error.errno not in ABSENT:
                raise
            absent = error
    if absent is not None and not listeners:
        raise absent
    return listeners


def _listener(family: int, address: Any) -> socket.socket:
    listener = socket.socket(family, socket.SOCK_STREAM)
    try:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if family == socket.AF_INET6:
            listener.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
        listener.bind(address)
        listener.listen(MAX_WAITING)
    except OSError:
        listener.close()
        raise
    return listener
