"""One connection, the answers that come over it one after another, and waits that never outlast their deadline."""

from __future__ import annotations

import re
import select
import socket
import ssl

from pipeline.http_client.deadline import Deadline
from pipeline.http_client.heads import MAX_HEAD, MAX_LINE, Head, ProtocolError, check_lines, parse_head

_BUFFER = 16 * 1024  # holds a usual head, and what comes with it
_END_OF_HEAD = re.compile(rb"\n\r?\n")
_CHUNK = re.compile(rb"([0-9A-Fa-f]{1,15})[ \t]*(?:;.*)?", re.DOTALL)
_BEGIN = b"HTTP/1."


class TruncatedError(Exception):
    """Raised when a server ends the connection in the middle of an answer."""


class Connection:
    """A socket whose every wait ends when the clock of its request does, and after `read_timeout_s` of silence."""

    def __init__(self, sock: socket.socket, *, read_timeout_s: float) -> None:
        self._socket = sock
        self._read_timeout_s = read_timeout_s
        self._timeout_s: float | None = None  # what the socket was told
        self._readable = select.poll()
        self._readable.register(sock, select.POLLIN)
        self._buffer = bytearray(_BUFFER)
        self._begin = self._end = 0  # of what was received and not yet read
        self._clock = Deadline(0)
        self._received = 0
        self.kept_at = 0.0

    def ask(self, request: bytes, *, clock: Deadline) -> Answer:
        """Sends a request and reads the head of its answer.

        Raises:
            OSError: whatever went wrong, TimeoutError when the time is over.
            ProtocolError, PermanentError: see `parse_head`.
        """
        self._clock = clock
        self._received = 0
        self._wait_at_most()
        self._socket.sendall(request)
        while (head := parse_head(self._raw_head())) is None:
            pass
        return Answer(self, head)

    def read_into(self, view: memoryview) -> int:
        """The next bytes, as many as are here but at least one; 0 at the end of the connection."""
        here = min(self._end - self._begin, len(view))
        if not here:
            return self._receive(view)
        view[:here] = memoryview(self._buffer)[self._begin : self._begin + here]
        self._begin += here
        return here

    def read_line(self) -> bytes:
        """The next line without its end.

        Raises:
            ProtocolError: it is longer than 64 KiB.
            TruncatedError: the connection ends before it does.
        """
        searched = 0  # behind the beginning
        while (at := self._buffer.find(b"\n", self._begin + searched, self._end)) < 0:
            searched = self._end - self._begin
            _check_line(searched)
            if not self._fill():
                raise TruncatedError
        _check_line(at - self._begin)
        line = bytes(self._buffer[self._begin : at])
        self._begin = at + 1
        return line.removesuffix(b"\r")

    def is_usable(self) -> bool:
        """Whether a kept connection can serve again: it is open, and nothing came that nobody had asked for."""
        if self._begin < self._end or (isinstance(self._socket, ssl.SSLSocket) and self._socket.pending()):
            return False
        return not self._readable.poll(0) or self._has_only_tickets()

    def shut(self) -> None:
        """Closes the socket."""
        self._socket.close()

    def _has_only_tickets(self) -> bool:
        # TLS has words of its own after its handshake, in which no byte of an answer stands.
        if not isinstance(self._socket, ssl.SSLSocket):
            return False
        try:
            self._socket.settimeout(0)
            self._socket.recv(1)
        except ssl.SSLWantReadError:
            return True
        except OSError:
            return False
        finally:
            self._timeout_s = 0
        return False

    def _raw_head(self) -> bytes:
        searched = 0  # behind the beginning
        while not (found := _END_OF_HEAD.search(self._buffer, self._begin + searched, self._end)):
            if self._received > MAX_HEAD:
                check_lines(self._buffer[self._begin : self._end].decode("latin-1"))
                raise ProtocolError("the head is too long")
            searched = max(self._end - self._begin - 2, 0)
            if not self._fill():
                raise self._end_in_head()
        head = bytes(self._buffer[self._begin : found.end()])
        self._begin = found.end()
        return head

    def _end_in_head(self) -> Exception:
        beginning = bytes(self._buffer[self._begin : self._end])
        if beginning.startswith(_BEGIN) or _BEGIN.startswith(beginning):
            return ConnectionResetError("the connection ended before the head of the answer did")
        return ProtocolError("no status line")

    def _fill(self) -> int:
        """Receives more behind what is here; 0 at the end of the connection."""
        if self._begin:
            self._buffer[: self._end - self._begin] = self._buffer[self._begin : self._end]
            self._begin, self._end = 0, self._end - self._begin
        if self._end == len(self._buffer):
            self._buffer.extend(bytes(len(self._buffer)))
        count = self._receive(memoryview(self._buffer)[self._end :])
        self._end += count
        return count

    def _receive(self, view: memoryview) -> int:
        self._wait_at_most()
        count = self._socket.recv_into(view)
        self._received += count
        return count

    def _wait_at_most(self) -> None:
        left = self._clock.left(self._received)
        if left <= 0:
            raise TimeoutError("the deadline has passed")
        timeout_s = min(left, self._read_timeout_s)
        if timeout_s != self._timeout_s:  # it is a system call
            self._socket.settimeout(timeout_s)
            self._timeout_s = timeout_s


def _check_line(length: int) -> None:
    if length > MAX_LINE:
        raise ProtocolError("a line is too long")


class Answer:
    """The head of an answer, and its body to be read. `ended` says that all of it was."""

    def __init__(self, connection: Connection, head: Head) -> None:
        self.status = head.status
        self.headers = head.headers
        self.length = head.length
        self.will_close = head.will_close
        self._connection = connection
        self._chunked = head.chunked
        self._left = head.length  # of the body, or of the chunk; None: until the connection ends
        self._in_chunk = False
        self.ended = head.length == 0

    def read_into(self, view: memoryview) -> int:
        """Fills the view with the next bytes, as far as there are any; 0 at the end.

        Raises:
            OSError: whatever went wrong, TimeoutError when the time is over.
            ProtocolError: a chunk is none.
            TruncatedError: the connection ends before the answer does.
        """
        filled = 0
        while filled < len(view) and not self.ended:
            if self._chunked and not self._left:
                self._next_chunk()
                continue
            filled += self._read(view[filled:])
        return filled

    def throw_away(self, at_most: int) -> None:
        """Reads so many bytes of it, so that its connection can be kept if that is all."""
        self.read_into(memoryview(bytearray(at_most if self.length is None else min(self.length, at_most))))

    def _read(self, view: memoryview) -> int:
        count = self._connection.read_into(view if self._left is None else view[: self._left])
        if self._left is not None:
            self._left -= count
        if not count and self._left is not None:
            raise TruncatedError
        self.ended = not count or (self._left == 0 and not self._chunked)
        return count

    def _next_chunk(self) -> None:
        if self._in_chunk and self._connection.read_line():
            raise ProtocolError("a chunk is longer than it says")
        size = _CHUNK.fullmatch(self._connection.read_line())
        if not size:
            raise ProtocolError("a chunk has no size")
        self._left = int(size[1], 16)
        self._in_chunk = True
        if not self._left:
            self._skip_trailers()
            self.ended = True

    def _skip_trailers(self) -> None:
        length = 0
        try:
            while line := self._connection.read_line():
                length += len(line)
                if length > MAX_HEAD:
                    raise ProtocolError("the trailers are too long")
        except TruncatedError:  # the body was whole, though its server did not take leave
            self.will_close = True
