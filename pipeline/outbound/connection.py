"""One connection to a checked address, on which no wait outlasts its deadline."""

from __future__ import annotations

import http.client
import io
import socket
import ssl
from collections.abc import Sequence
from typing import TYPE_CHECKING

from pipeline.errors import Code, PermanentError, PipelineError, RetryableError
from pipeline.outbound.clock import Clock

if TYPE_CHECKING:
    from _typeshed import WriteableBuffer

    from pipeline.outbound.addresses import Address

MAX_HEAD = 256 * 1024  # bytes of status line and headers, informational answers included
MAX_ADDRESSES = 4  # of one name that are tried, so that a name with many dead ones costs no more than one
REDIRECTS = frozenset({301, 302, 303, 307, 308})
_BUFFER = 64 * 1024


class Answer(http.client.HTTPResponse):
    """The head of an answer, and its body to be read."""

    def begin(self) -> None:
        """Reads the head.

        Raises:
            PermanentError: `fetch_redirect`, if a redirect names a place that is longer than a header may be.
        """
        try:
            super().begin()
        except http.client.LineTooLong:
            if self.status in REDIRECTS:
                raise PermanentError(Code.FETCH_REDIRECT, "the redirect's Location is too long") from None
            raise


class _Reader(io.BufferedReader):
    """Serves every answer of a connection in turn, so what a server sent too much of does not vanish unseen."""

    def close(self) -> None:
        """Does nothing: http.client closes its file at the end of each answer."""


class Connection(io.RawIOBase):
    """A socket whose every wait ends when the clock of its request does, and after `read_timeout_s` of silence."""

    def __init__(self, sock: socket.socket, *, read_timeout_s: float) -> None:
        super().__init__()
        self._socket = sock
        self._read_timeout_s = read_timeout_s
        self._reader = _Reader(self, _BUFFER)
        self._in_head = False
        self._polling = False
        self._gone = False
        self._clock = Clock(0)
        self._received = 0
        self.kept_at = 0.0

    def ask(self, method: str, request: bytes, *, clock: Clock) -> Answer:
        """Sends a request and reads the head of its answer.

        Raises:
            OSError, http.client.HTTPException: whatever went wrong, TimeoutError when the time is over.
        """
        self._clock = clock
        self._received = 0
        self._in_head = True
        self._wait_at_most()
        self._socket.sendall(request)
        answer = Answer(self, method=method)  # type: ignore[arg-type]  # makefile() is all it uses
        answer.begin()
        self._in_head = False
        return answer

    def makefile(self, mode: str) -> io.BufferedReader:  # noqa: ARG002  # what http.client asks a socket for
        return self._reader

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: WriteableBuffer) -> int | None:
        if self._polling:
            return self._poll(buffer)
        self._wait_at_most()
        count = self._socket.recv_into(buffer)
        self._received += count
        if self._in_head and self._received > MAX_HEAD:
            raise http.client.HTTPException("the head of the answer is too long")
        return count

    def _wait_at_most(self) -> None:
        left = self._clock.left(self._received)
        if left <= 0:
            raise TimeoutError("the deadline has passed")
        self._socket.settimeout(min(left, self._read_timeout_s))

    def is_usable(self) -> bool:
        """Whether a kept connection can serve again: it is open, and nothing came that nobody had asked for."""
        self._polling = True
        try:
            self._socket.settimeout(0)
            return not self._reader.peek(1) and not self._gone
        except OSError:
            return False
        finally:
            self._polling = False

    def _poll(self, buffer: WriteableBuffer) -> int | None:
        try:
            count = self._socket.recv_into(buffer)
        except (BlockingIOError, ssl.SSLWantReadError):
            return None
        self._gone = count == 0
        return count

    def shut(self) -> None:
        """Closes the socket."""
        self._socket.close()


def dial(addresses: Sequence[Address], port: int, *, timeout_s: float) -> socket.socket:
    """Connects to the first of these addresses that answers; they share the time.

    Raises:
        RetryableError: `fetch_timeout`, `fetch_refused` or `fetch_reset`.
    """
    addresses = addresses[:MAX_ADDRESSES]
    trouble = RetryableError(Code.FETCH_REFUSED, "the name has no address")
    for address in addresses:
        sock = socket.socket(socket.AF_INET if address.version == 4 else socket.AF_INET6)
        try:
            sock.settimeout(max(timeout_s / len(addresses), 0.001))
            sock.connect((str(address), port))
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            return sock
        except TimeoutError:
            trouble = RetryableError(Code.FETCH_TIMEOUT, "the server does not accept connections in time")
        except ConnectionResetError:
            trouble = RetryableError(Code.FETCH_RESET, "the server broke off the connection")
        except OSError:
            trouble = RetryableError(Code.FETCH_REFUSED, "the server refuses connections or cannot be reached")
        sock.close()
    raise trouble


def secure(sock: socket.socket, context: ssl.SSLContext, *, host: str, timeout_s: float) -> ssl.SSLSocket:
    """TLS over a connected socket; the certificate must be trusted and name the host.

    Raises:
        PermanentError: `fetch_tls`.
        RetryableError: `fetch_timeout` or `fetch_reset`.
    """
    sock.settimeout(max(timeout_s, 0.001))
    try:
        return context.wrap_socket(sock, server_hostname=host.rstrip("."))
    except (OSError, ValueError) as error:
        sock.close()
        raise _tls_error(error, host) from error


def _tls_error(error: OSError | ValueError, host: str) -> PipelineError:
    if isinstance(error, ssl.SSLCertVerificationError):
        return PermanentError(Code.FETCH_TLS, f"{host}: {error.verify_message}")
    if isinstance(error, TimeoutError):
        return RetryableError(Code.FETCH_TIMEOUT, f"{host} does not finish the TLS handshake in time")
    if isinstance(error, (ssl.SSLEOFError, ConnectionError)):
        return RetryableError(Code.FETCH_RESET, f"{host} broke off the TLS handshake")
    return PermanentError(Code.FETCH_TLS, f"{host} speaks no TLS that is safe")
