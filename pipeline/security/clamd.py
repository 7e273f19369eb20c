"""The protocol of clamd, ClamAV's daemon: one connection a question, over a unix socket or TCP.

clamav-client 0.7.2 was looked at: it connects to a unix socket without a time limit, knows no IPv6, sends 1024 bytes at
a time, and when clamd has refused a stream and closed it, does not read why.
"""

from __future__ import annotations

import re
import socket
import time
from collections.abc import Iterable
from datetime import datetime
from typing import NamedTuple, Self

from pipeline.config.parsers import clamd_place

CONNECT_S = 5.0  # also for the answer to a question without a file
MAX_ANSWER = 4096
MAX_CHUNK_BYTES = 2**32 - 1  # a chunk says its length in 32 bits
TOO_LONG = "INSTREAM size limit exceeded"
VERSION = re.compile(r"(ClamAV [^/]+)(?:/(\d+)/(.+))?")


class ClamdUnavailableError(Exception):
    """Raised when no clamd takes the connection."""


class Version(NamedTuple):
    """`signatures` is the number of its daily database and `made` its date; None if it has none of ClamAV's own."""

    program: str
    signatures: int | None = None
    made: datetime | None = None


class Clamd:
    """Asks the clamd at an address as CLAMD_ADDRESS has it.

    Raises, from every method: `ClamdUnavailableError`; `OSError` if it stops answering midway (TimeoutError: in time).
    """

    def __init__(self, address: str) -> None:
        self._place = clamd_place(address)

    def ping(self) -> bool:
        """Whether it does what it is there for; a clamd that hangs raises."""
        return self._ask(b"PING") == "PONG"

    def version(self) -> Version:
        """What it is.

        Raises:
            ValueError: that is no clamd.
        """
        found = VERSION.fullmatch(self._ask(b"VERSION"))
        if not found:
            raise ValueError("answers as no clamd does")
        program, signatures, made = found.groups()
        if signatures is None:
            return Version(program)
        return Version(program, int(signatures), datetime.strptime(made, "%a %b %d %H:%M:%S %Y").astimezone())

    def accepts(self, size: int) -> bool:
        """Whether it takes a stream of so many bytes, at most 4 GB. Nothing is sent but the announcement of them."""
        with _Line(self._place, CONNECT_S) as line:
            line.send(b"zINSTREAM\0" + size.to_bytes(4, "big"))
            line.patience_s = QUIET_S
            try:
                return TOO_LONG not in line.answer()
            except TimeoutError:  # it waits for the bytes
                return True

    def scan(self, chunks: Iterable[bytes], *, timeout_s: float) -> str:
        """Its answer on these bytes, such as `stream: OK`; it has so many seconds for reading and thinking."""
        with _Line(self._place, timeout_s) as line:
            try:
                line.send(b"zINSTREAM\0")
                for chunk in chunks:
                    line.send(len(chunk).to_bytes(4, "big") + chunk)
                line.send(bytes(4))
            except (BrokenPipeError, ConnectionResetError):
                pass  # it may have said why before it closed
            return line.answer()

    def _ask(self, question: bytes) -> str:
        with _Line(self._place, CONNECT_S) as line:
            line.send(b"z" + question + b"\0")
            return line.answer()


QUIET_S = 0.5  # a refusal comes at once


class _Line:
    """One connection, with a time limit on all of it."""

    def __init__(self, place: str | tuple[str, int], patience_s: float) -> None:
        self._place = place
        self._began = time.monotonic()
        self.patience_s = patience_s

    def __enter__(self) -> Self:
        try:
            self._socket = self._connected()
        except OSError as error:
            raise ClamdUnavailableError(error.strerror or type(error).__name__) from error
        return self

    def __exit__(self, *_: object) -> None:
        self._socket.close()

    def _connected(self) -> socket.socket:
        if not isinstance(self._place, str):
            return socket.create_connection(self._place, timeout=CONNECT_S)
        made = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        try:
            made.settimeout(CONNECT_S)
            made.connect(self._place)
        except OSError:
            made.close()
            raise
        return made

    def send(self, data: bytes) -> None:
        self._socket.settimeout(self._left_s())
        self._socket.sendall(data)

    def answer(self) -> str:
        """Up to the NUL that ends it, or to the end of what it says."""
        said = b""
        while b"\0" not in said and len(said) < MAX_ANSWER:
            self._socket.settimeout(self._left_s())
            piece = self._socket.recv(MAX_ANSWER)
            if not piece:
                break
            said += piece
        if not said:
            raise ConnectionError("closed without an answer")
        return said.partition(b"\0")[0].decode(errors="replace").strip()

    def _left_s(self) -> float:
        left = self._began + self.patience_s - time.monotonic()
        if left <= 0:
            raise TimeoutError
        return left
