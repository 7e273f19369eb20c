"""Where a part says that it is ready: the socket of sd_notify(3), for one process and those that it starts. Linux."""

from __future__ import annotations

import os
import socket
import struct

from pipeline.service_manager.notify import NOTIFY_SOCKET, READY

MAX_MESSAGE = 4096  # bytes
CREDENTIALS = struct.Struct("3i")  # struct ucred of unix(7): process, user, group


class Readiness:
    """Whether a part has said that it is ready. Its address has no file, so nothing is left of it."""

    def __init__(self) -> None:
        self._said = False
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_NONBLOCK)
        self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_PASSCRED, 1)
        self._socket.bind("")  # the kernel chooses a name

    @property
    def environment(self) -> dict[str, str]:
        """The variable for the part."""
        return {NOTIFY_SOCKET: "@" + self._socket.getsockname()[1:].decode()}

    def has_been_said(self) -> bool:
        """Whether READY has arrived from a process of the same user: every user can find the name."""
        while not self._said:
            try:
                message, received, _, _ = self._socket.recvmsg(MAX_MESSAGE, socket.CMSG_SPACE(CREDENTIALS.size))
            except BlockingIOError:
                return False
            users = [CREDENTIALS.unpack(data)[1] for _, kind, data in received if kind == socket.SCM_CREDENTIALS]
            self._said = READY in message.decode("utf-8", "replace").split("\n") and users == [os.geteuid()]
        self.close()
        return True

    def close(self) -> None:
        self._socket.close()
