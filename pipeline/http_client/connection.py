"""A connection to one server, and the responses that it carries one after another."""

from __future__ import annotations

import select
import ssl

from urllib3.util.ssltransport import SSLTransport

from pipeline.http_client.connect import Socket
from pipeline.http_client.deadline import Deadline
from pipeline.http_client.response_parser import END_OF_HEAD, MAX_HEAD, ProtocolError, ResponseHead, ResponseParser
from pipeline.http_client.tls_watch import TLS_WATCH

_BUFFER = 32 * 1024  # bytes: a usual head and a small file come with one system call
_SENT_AT_ONCE = 16 * 1024  # bytes: over TLS, each record of this size may take the whole timeout of the socket
_HTTP = b"HTTP/1."


class TruncatedError(Exception):
    """Raised when a server ends the connection in the middle of a body."""


class Connection:
    """A connected socket. Every wait ends with the deadline of its request, and after `read_timeout_s` of silence."""

    def __init__(self, sock: Socket, *, read_timeout_s: float) -> None:
        self._socket = sock
        self._read_timeout_s = read_timeout_s
        self._timeout_s: float | None = None  # the socket's current timeout
        self._readable = select.poll()
        self._readable.register(sock, select.POLLIN)
        self._buffer = bytearray(_BUFFER)
        self._begin = self._end = 0  # of what is received and not yet read
        self._deadline = Deadline(0)
        self.body_bytes = 0  # of the current response so far; only these extend its deadline
        self.kept_at = 0.0  # set by the pool

    def send(self, request: bytes, *, deadline: Deadline) -> StreamedResponse:
        """Sends a request and reads the head of its response.

        Raises:
            OSError: the connection failed; TimeoutError when the time is over.
            ProtocolError, PermanentError: see `ResponseParser`.
        """
        self._deadline = deadline
        self.body_bytes = self._begin = self._end = 0
        for start in range(0, len(request), _SENT_AT_ONCE):
            with TLS_WATCH.limit(self._socket, self._set_timeout()):
                self._socket.sendall(request[start : start + _SENT_AT_ONCE])
        parser = ResponseParser()
        return StreamedResponse(self, self._read_head(parser), parser)

    def read_into(self, view: memoryview) -> int:
        """Reads the next bytes, as many as have arrived but at least one; 0 at the end of the connection."""
        count = min(self._end - self._begin, len(view))
        if not count:
            return self._receive(view)
        view[:count] = memoryview(self._buffer)[self._begin : self._begin + count]
        self._begin += count
        return count

    def read_buffered(self) -> bytes:
        """The next bytes, as many as have arrived but at least one; empty at the end of the connection."""
        if self._begin == self._end:
            self._begin = self._end = 0
            self._fill()
        data = bytes(memoryview(self._buffer)[self._begin : self._end])
        self._begin = self._end
        return data

    def is_usable(self) -> bool:
        """Whether a kept connection can carry another request: it is open, and the server has sent nothing unasked."""
        if isinstance(self._socket, SSLTransport):  # what it has received and not given out cannot be seen
            return False
        if self._begin < self._end or (isinstance(self._socket, ssl.SSLSocket) and self._socket.pending()):
            return False
        return not self._readable.poll(0) or self._has_only_tickets()

    def close(self) -> None:
        self._socket.close()

    def _has_only_tickets(self) -> bool:
        # A TLS server may send session tickets after the handshake: they are readable, but carry no data.
        if not isinstance(self._socket, ssl.SSLSocket):
            return False
        try:
            self._socket.settimeout(0)
            with TLS_WATCH.limit(self._socket, 0):
                self._socket.recv(1)
        except ssl.SSLWantReadError:
            return True
        except OSError:
            return False
        finally:
            self._timeout_s = 0
        return False

    def _read_head(self, parser: ResponseParser) -> ResponseHead:
        parsed = 0  # bytes of the buffer that the parser has had
        while True:
            if parsed == self._end and not self._fill():
                raise self._ended_in_head()
            # A separator may have arrived in two parts: the search goes back by three bytes.
            separator = self._buffer.find(END_OF_HEAD, max(self._begin, parsed - 3), self._end)
            end = self._end if separator < 0 else separator + len(END_OF_HEAD)
            parser.feed_head(self._buffer[parsed:end])
            parsed = end
            if separator >= 0:
                raw = self._buffer[self._begin : end]
                self._begin = end
                if head := parser.head(raw):
                    return head
            if end > MAX_HEAD:  # also of informational heads that are complete
                raise parser.head_too_long()

    def _ended_in_head(self) -> Exception:
        start = bytes(self._buffer[self._begin : self._end])
        if start.startswith(_HTTP) or _HTTP.startswith(start):
            return ConnectionResetError("the connection ended before the head of the response did")
        return ProtocolError("it has no HTTP/1.x status line")

    def _fill(self) -> int:
        """Receives more bytes behind those in the buffer; 0 at the end of the connection."""
        if self._end == len(self._buffer):
            self._buffer.extend(bytes(len(self._buffer)))
        count = self._receive(memoryview(self._buffer)[self._end :])
        self._end += count
        return count

    def _receive(self, view: memoryview) -> int:
        timeout_s = self._set_timeout()
        with TLS_WATCH.limit(self._socket, timeout_s):
            return int(self._socket.recv_into(view) or 0)

    def _set_timeout(self) -> float:
        left = self._deadline.left(self.body_bytes)
        if left <= 0:
            raise TimeoutError("the deadline has passed")
        timeout_s = min(left, self._read_timeout_s)
        if timeout_s != self._timeout_s:  # it is a system call
            self._socket.settimeout(timeout_s)
            self._timeout_s = timeout_s
        return timeout_s


class StreamedResponse:
    """A response whose head has been read and whose body is read on demand. `ended` says whether all of it was read."""

    def __init__(self, connection: Connection, head: ResponseHead, parser: ResponseParser) -> None:
        self.status = head.status
        self.headers = head.headers
        self.length = head.length
        self.keep_alive = head.keep_alive
        self.ended = head.length == 0
        self._connection = connection
        self._parser = parser if head.chunked else None
        self._left = head.length  # bytes of the body that are to come; None if only the server knows
        self._content = memoryview(b"")  # decoded from chunks and not yet read

    def read_into(self, view: memoryview) -> int:
        """Fills the view with the next bytes of the body, or with those up to its end; 0 at the end.

        Raises:
            OSError: the connection failed; TimeoutError when the time is over.
            ProtocolError: a chunk is malformed.
            TruncatedError: the connection ended before the body did.
        """
        filled = 0
        while filled < len(view) and not self.ended:
            if self._parser:
                filled += self._read_chunked(view[filled:], self._parser)
            else:
                filled += self._read_plain(view[filled:])
        return filled

    def discard(self, limit: int) -> None:
        """Reads at most `limit` bytes of the body, so that the connection can be kept if that is all of it."""
        self.read_into(memoryview(bytearray(limit if self.length is None else min(self.length, limit))))

    def _read_plain(self, view: memoryview) -> int:
        if self._left is None:
            count = self._connection.read_into(view)
            self._connection.body_bytes += count
            self.ended = not count
            return count
        count = self._connection.read_into(view[: self._left])
        if not count:
            raise TruncatedError
        self._connection.body_bytes += count
        self._left -= count
        self.ended = self._left == 0
        return count

    def _read_chunked(self, view: memoryview, parser: ResponseParser) -> int:
        if not self._content and not parser.complete:
            data = self._connection.read_buffered()
            if not data:
                raise TruncatedError
            self._content = memoryview(parser.feed_chunks(data))
            self._connection.body_bytes += len(self._content)
        count = min(len(view), len(self._content))
        view[:count] = self._content[:count]
        self._content = self._content[count:]
        if parser.complete and not self._content:
            self.ended = True
            self.keep_alive = self.keep_alive and parser.ended_cleanly
        return count
