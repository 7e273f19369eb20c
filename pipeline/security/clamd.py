"""A client for clamd, ClamAV's daemon: one connection for each command, over a unix socket or TCP.

clamav-client 0.7.2 was rejected: it connects to a unix socket without a time limit, has no IPv6, sends 1024 bytes at a
time, and does not read the reason when clamd refuses a stream and closes the connection.
"""

from __future__ import annotations

import re
import socket
import time
from collections.abc import Iterable
from datetime import datetime
from typing import NamedTuple, Self

from pipeline.config.parsers import parse_clamd_address

COMMAND_TIMEOUT_S = 5.0  # for connecting, and for the reply to a command without a file
REFUSAL_TIMEOUT_S = 0.5  # clamd refuses a size at once
MAX_REPLY = 4096  # bytes
MAX_CHUNK_BYTES = 2**32 - 1  # the length of a chunk has 32 bits
TOO_LONG = "INSTREAM size limit exceeded"
VERSION = re.compile(r"(ClamAV [^/]+)(?:/(\d+)/(.+))?")


class ClamdUnavailableError(Exception):
    """Raised when no clamd accepts the connection."""


class Version(NamedTuple):
    """`signatures` is the version of its daily database, `made` its date; both None without ClamAV's own databases."""

    program: str
    signatures: int | None = None
    made: datetime | None = None


class Clamd:
    """A client of the clamd at an address in the form of CLAMD_ADDRESS.

    Every method raises ClamdUnavailableError, and OSError if the connection fails later (TimeoutError after the time).
    """

    def __init__(self, address: str) -> None:
        self._address = parse_clamd_address(address)

    def ping(self) -> bool:
        """Whether clamd answers PING; raises if it hangs."""
        return self._command(b"PING") == "PONG"

    def version(self) -> Version:
        """The version of clamd and of its databases.

        Raises:
            ValueError: the server is not a clamd.
        """
        match = VERSION.fullmatch(self._command(b"VERSION"))
        if not match:
            raise ValueError("the server does not answer like clamd")
        program, signatures, made = match.groups()
        if signatures is None:
            return Version(program)
        return Version(program, int(signatures), datetime.strptime(made, "%a %b %d %H:%M:%S %Y").astimezone())

    def accepts(self, size: int) -> bool:
        """Whether clamd accepts a stream of so many bytes, at most 4 GB. Only the announcement is sent."""
        with _Connection(self._address, COMMAND_TIMEOUT_S) as connection:
            connection.send(b"zINSTREAM\0" + size.to_bytes(4, "big"))
            connection.timeout_s = REFUSAL_TIMEOUT_S
            try:
                return TOO_LONG not in connection.reply()
            except TimeoutError:  # it accepts the size and waits for the bytes
                return True

    def scan(self, chunks: Iterable[bytes], *, timeout_s: float) -> str:
        """Scans these bytes and returns clamd's reply, such as `stream: OK`. `timeout_s` limits the whole scan."""
        with _Connection(self._address, timeout_s) as connection:
            try:
                connection.send(b"zINSTREAM\0")
                for chunk in chunks:
                    connection.send(len(chunk).to_bytes(4, "big") + chunk)
                connection.send(bytes(4))
            except (BrokenPipeError, ConnectionResetError):
                pass  # the reason may have been sent before the connection was closed
            return connection.reply()

    def _command(self, command: bytes) -> str:
        with _Connection(self._address, COMMAND_TIMEOUT_S) as connection:
            connection.send(b"z" + command + b"\0")
            return connection.reply()


class _Connection:
    """One connection, with a time limit on all of it."""

    def __init__(self, address: str | tuple[str, int], timeout_s: float) -> None:
        self._address = address
        self._start = time.monotonic()
        self.timeout_s = timeout_s

    def __enter__(self) -> Self:
        try:
            self._socket = self._connect()
        except OSError as error:
            raise ClamdUnavailableError(error.strerror or type(error).__name__) from error
        return self

    def __exit__(self, *_: object) -> None:
        self._socket.close()

    def _connect(self) -> socket.socket:
        if not isinstance(self._address, str):
            return socket.create_connection(self._address, timeout=COMMAND_TIMEOUT_S)
        sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        try:
            sock.settimeout(COMMAND_TIMEOUT_S)
            sock.connect(self._address)
        except OSError:
            sock.close()
            raise
        return sock

    def send(self, data: bytes) -> None:
        self._socket.settimeout(self._left_s())
        self._socket.sendall(data)

    def reply(self) -> str:
        """Reads the reply up to its NUL, or to the end of the connection."""
        reply = b""
        while b"\0" not in reply and len(reply) < MAX_REPLY:
            self._socket.settimeout(self._left_s())
            piece = self._socket.recv(MAX_REPLY)
            if not piece:
                break
            reply += piece
        if not reply:
            raise ConnectionError("closed without a reply")
        return reply.partition(b"\0")[0].decode(errors="replace").strip()

    def _left_s(self) -> float:
        left = self._start + self.timeout_s - time.monotonic()
        if left <= 0:
            raise TimeoutError
        return left
