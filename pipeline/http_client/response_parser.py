"""Parses one HTTP/1.x response with llhttp (httptools), and adds the limits that llhttp leaves to its caller.

llhttp refuses a Content-Length next to a Transfer-Encoding, a repeated Content-Length, bare line feeds, folded headers
and invalid characters. It accepts any Transfer-Encoding that ends in `chunked`, a repeated one, heads of any size,
chunk extensions of any size, HTTP/0.9, HTTP/2.0 and RTSP: those are refused here.
"""

from __future__ import annotations

from collections.abc import Sequence

from httptools import HttpParserError, HttpParserUpgrade, HttpResponseParser

from pipeline.errors import Code, PermanentError

END_OF_HEAD = b"\r\n\r\n"
MAX_HEAD = 256 * 1024  # bytes of status line and headers, informational responses included
MAX_LINE = 64 * 1024  # bytes of one header
MAX_HEADERS = 100
# Bytes of chunk sizes, chunk extensions and trailers: so many at the start, and so many more for each byte of content.
# A server that sends a file in chunks of ten bytes stays within.
MAX_CHUNK_OVERHEAD = 64 * 1024
MAX_CHUNK_OVERHEAD_PER_BYTE = 0.5
REDIRECTS = frozenset({301, 302, 303, 307, 308})
CONTINUE = 100
_STATUSES_WITHOUT_BODY = frozenset({204, 304})
_VERSION_PREFIX = b"HTTP/1."
_BLANK = b" \t"
_LAST_CHUNK = b"0\r\n\r\n"


class ProtocolError(Exception):
    """Raised when a server's response is not valid HTTP/1.x, or exceeds a limit."""


class Headers:
    """The headers of a response, looked up by name in any case. `fields` have lower-case names."""

    def __init__(self, fields: Sequence[tuple[bytes, bytes]]) -> None:
        self._fields = fields

    def get(self, name: str) -> str | None:
        """The first value of a header, or None."""
        wanted = name.lower().encode("ascii")
        return next((value.decode("latin-1") for field, value in self._fields if field == wanted), None)

    def get_all(self, name: str) -> list[str]:
        """Every value of a header, in the order of the response."""
        wanted = name.lower().encode("ascii")
        return [value.decode("latin-1") for field, value in self._fields if field == wanted]

    def items(self) -> list[tuple[str, str]]:
        """All headers, with lower-case names."""
        return [(name.decode("latin-1"), value.decode("latin-1")) for name, value in self._fields]


class ResponseHead:
    """The status and headers of a response, and where its body ends.

    `length` is the body's length in bytes, or None if it is `chunked` or ends with the connection. `keep_alive` says
    whether the connection can carry another response after this one.
    """

    __slots__ = ("chunked", "headers", "keep_alive", "length", "status")

    def __init__(self, status: int, fields: Sequence[tuple[bytes, bytes]], *, keep_alive: bool) -> None:
        """
        Raises:
            PermanentError: `fetch_protocol`, if two HTTP clients might see the end of the body in different places.
        """
        codings, length = [], None
        for name, value in fields:
            if name == b"transfer-encoding":
                codings.append(value.lower())
            elif name == b"content-length":
                length = int(value)
        if codings and codings != [b"chunked"]:
            raise PermanentError(Code.FETCH_PROTOCOL, "the response's Transfer-Encoding leaves its length unclear")
        self.status = status
        self.headers = Headers(fields)
        self.length = 0 if status in _STATUSES_WITHOUT_BODY else length
        self.chunked = bool(codings) and self.length is None
        self.keep_alive = keep_alive


class ResponseParser:
    """Takes the bytes of one response in order: first those of its head, then those of a chunked body."""

    def __init__(self) -> None:
        self._events = _Events()
        self._llhttp = HttpResponseParser(self._events)
        self._head_bytes = 0
        self._overhead: float = MAX_CHUNK_OVERHEAD  # bytes of chunk framing that may still come
        self._tail = b""

    def feed_head(self, data: bytes | bytearray) -> None:
        """Parses a part of the head, or the rest of it up to its empty line.

        Raises:
            ProtocolError: it is not HTTP, or has too many or too long headers.
            PermanentError: `fetch_redirect`, if a redirect has a header that is too long.
        """
        try:
            self._llhttp.feed_data(data)
        except (HttpParserError, HttpParserUpgrade) as error:
            raise ProtocolError(_reason(error)) from None
        self._head_bytes += len(data)
        fields = self._events.fields
        if len(fields) > MAX_HEADERS:
            raise ProtocolError("it has too many headers")
        if self._head_bytes > MAX_LINE and any(len(name) + len(value) > MAX_LINE for name, value in fields):
            raise self.head_too_long()

    def head(self, raw: bytes | bytearray) -> ResponseHead | None:
        """The head, once `feed_head` has had all of it (`raw`); None for `100 Continue`, which another head follows.

        Raises:
            ProtocolError: it is not the head of a final HTTP/1.x response.
            PermanentError: `fetch_protocol`, see `ResponseHead`.
        """
        events = self._events
        if not (events.head_complete and raw.startswith(_VERSION_PREFIX)):
            raise ProtocolError("it has no HTTP/1.x status line")
        status = self._llhttp.get_status_code()
        if status == CONTINUE:
            events.fields, events.head_complete, events.complete = [], False, False
            return None
        if status < 200:
            raise ProtocolError(f"its status is {status}")
        return ResponseHead(status, events.fields, keep_alive=self._llhttp.should_keep_alive())

    def head_too_long(self) -> Exception:
        """The error for a head or a header beyond its limit; in a redirect, the Location is the long one."""
        if self._llhttp.get_status_code() in REDIRECTS:
            return PermanentError(Code.FETCH_REDIRECT, "the redirect's Location is too long")
        return ProtocolError("its head is too long")

    def feed_chunks(self, data: bytes | bytearray) -> bytes:
        """The content in these bytes of a chunked body.

        Raises:
            ProtocolError: a chunk is malformed, or the chunks hold too much framing for their content.
        """
        events = self._events
        try:
            self._llhttp.feed_data(data)
        except (HttpParserError, HttpParserUpgrade) as error:
            if not events.complete:
                raise ProtocolError(_reason(error)) from None
        content = b"".join(events.content)
        events.content.clear()
        self._tail = (self._tail + data[-len(_LAST_CHUNK) :])[-len(_LAST_CHUNK) :]
        self._overhead += len(content) * MAX_CHUNK_OVERHEAD_PER_BYTE - (len(data) - len(content))
        if self._overhead < 0:
            raise ProtocolError("its chunks hold too much framing for their content")
        return content

    @property
    def complete(self) -> bool:
        """Whether the chunked body has ended."""
        return self._events.complete

    @property
    def ended_cleanly(self) -> bool:
        """Whether nothing followed the last chunk, neither trailers nor bytes of something else."""
        # llhttp skips empty lines between two responses without an event.
        return not self._events.surplus and self._tail == _LAST_CHUNK


class _Events:
    """Collects what llhttp reports. Without a reference to the parser: a cycle would wait for the garbage collector."""

    __slots__ = ("complete", "content", "fields", "head_complete", "surplus")

    def __init__(self) -> None:
        self.fields: list[tuple[bytes, bytes]] = []
        self.content: list[bytes] = []
        self.head_complete = False
        self.complete = False
        self.surplus = False  # whether another response began after this one

    def on_message_begin(self) -> None:
        self.surplus = self.complete

    def on_header(self, name: bytes, value: bytes) -> None:
        if not self.head_complete:  # trailers are ignored
            self.fields.append((name.lower(), value.rstrip(_BLANK)))

    def on_headers_complete(self) -> None:
        self.head_complete = True

    def on_body(self, content: bytes) -> None:
        if not self.complete:
            self.content.append(content)

    def on_message_complete(self) -> None:
        self.complete = True


def _reason(error: HttpParserError | HttpParserUpgrade) -> str:
    return str(error) if isinstance(error, HttpParserError) else "it switches to another protocol"
