"""Requests to a running `esteira start`, from its socket in VAR_DIR, which other commands connect to."""

from __future__ import annotations

import os
import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

NAME = "start.sock"
RELOAD = b"reload\n"
MAX_REQUEST = 64  # bytes
MAX_PATH = 107  # bytes; sun_path holds 108 including the terminating zero (unix(7))
READ_S = 5.0  # for a command to send its request
PAUSE_S = 0.2  # after the system had no descriptor for a command
WRITE_S = 1.0  # for a command to take a line; it may have been killed
PROGRESS, DONE, FAILED = ". ", "+ ", "- "  # how the lines of an answer begin; the last one is DONE or FAILED


class Request:
    """A request to reload. `connection` takes the lines of the answer, if there is anybody to read them."""

    def __init__(self, connection: socket.socket | None = None) -> None:
        self._connection = connection

    def tell(self, text: str) -> None:
        """Sends a line of progress."""
        self._send(PROGRESS + text)

    def finish(self, failure: str | None = None) -> None:
        """Sends the last line: why it failed, or that it is done."""
        self._send(DONE if failure is None else FAILED + failure)
        if self._connection is not None:
            self._connection.close()

    def _send(self, line: str) -> None:
        if self._connection is not None:
            with suppress(OSError):
                self._connection.sendall(" ".join(line.splitlines()).encode() + b"\n")


@contextmanager
def taken_requests(folder: Path, take: Callable[[Request], object]) -> Iterator[None]:
    """Passes requests to `take`, in another thread, for the length of the block. The caller has locked the folder.

    Raises:
        OSError: the file system of the folder has no sockets.
    """
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as listener:
        with _short_path(folder) as path:
            path.unlink(missing_ok=True)  # left by an `esteira start` that was killed
            listener.bind(str(path))
        listener.listen()
        threading.Thread(target=_accept, args=(listener, take), name="requests", daemon=True).start()
        try:
            yield
        finally:
            (folder / NAME).unlink(missing_ok=True)


def connect(folder: Path) -> socket.socket:
    """A connection to the `esteira start` that uses the folder.

    Raises:
        OSError: there is none.
    """
    connection = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        with _short_path(folder) as path:
            connection.connect(str(path))
    except OSError:
        connection.close()
        raise
    return connection


@contextmanager
def _short_path(folder: Path) -> Iterator[Path]:
    """The path of the socket, through a descriptor of the folder if the path is too long for unix(7)."""
    if len(os.fsencode(folder / NAME)) <= MAX_PATH:
        yield folder / NAME
        return
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        yield Path(f"/proc/self/fd/{descriptor}/{NAME}")
    finally:
        os.close(descriptor)


def _accept(listener: socket.socket, take: Callable[[Request], object]) -> None:
    while True:
        try:
            connection, _ = listener.accept()
        except OSError:
            if listener.fileno() < 0:  # it is closed
                return
            time.sleep(PAUSE_S)
            continue
        try:
            connection.settimeout(READ_S)
            asked = connection.recv(MAX_REQUEST)
            connection.settimeout(WRITE_S)
        except OSError:
            asked = b""
        if asked == RELOAD:
            take(Request(connection))
        else:
            connection.close()
