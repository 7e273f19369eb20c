"""The transport adapter below requests: connections to checked addresses only, kept for the next ones.

It stands where urllib3 stands otherwise, and every read here ends with its request's deadline. Of requests it uses the
interface: an adapter that is sent a prepared request and gives a response. The Session above it and the preparing are
left out, for they check again what the guard has checked and keep cookies that nobody wants.
"""

from __future__ import annotations

import functools
import ssl
from collections.abc import Mapping
from contextlib import suppress
from types import MappingProxyType
from typing import Any

import certifi
from requests import PreparedRequest, Response
from requests.adapters import BaseAdapter

from pipeline.http_client.connect import dial, secure
from pipeline.http_client.connection import Connection, StreamedResponse, TruncatedError
from pipeline.http_client.connection_pool import Pool
from pipeline.http_client.deadline import Deadline
from pipeline.http_client.response_parser import ProtocolError
from pipeline.http_client.responses import transport_error
from pipeline.http_client.ssrf_guard import SsrfGuard, Target

USER_AGENT = "Esteira"
NO_HEADERS: Mapping[str, str] = MappingProxyType({})
_USUAL = {"User-Agent": USER_AGENT, "Accept-Encoding": "identity", "Accept": "*/*"}


class GuardedRequest(PreparedRequest):
    """A request to a target that the guard let pass, with the clock that bounds it."""

    body: bytes

    def __init__(
        self,
        method: str,
        target: Target,
        *,
        clock: Deadline,
        headers: Mapping[str, str] = NO_HEADERS,
        body: bytes = b"",
    ) -> None:
        """Raises ValueError for a header that holds a line break."""
        super().__init__()
        self.method = method
        self.target = target
        self.clock = clock
        self.body = body
        self._lines = _lines({**_USUAL, **headers}) if headers else _USUAL_LINES

    def encoded(self) -> bytes:
        """The request as it goes over the wire."""
        target = self.target
        head = f"{self.method} {target.path} HTTP/1.1\r\nHost: {target.authority}\r\n{self._lines}\r\n"
        return head.encode("latin-1") + self.body


def _lines(headers: Mapping[str, str]) -> str:
    if any(mark in text for header in headers.items() for text in header for mark in "\r\n\0"):
        raise ValueError("a header may not hold a line break")
    return "".join(f"{name}: {value}\r\n" for name, value in headers.items())


_USUAL_LINES = _lines(_USUAL)


class Transport(BaseAdapter):
    """Sends a `GuardedRequest`. The answer's body is read from `raw` of the response, and `close` ends the exchange."""

    def __init__(
        self, guard: SsrfGuard, *, connect_timeout_s: float, read_timeout_s: float, tls: ssl.SSLContext | None
    ) -> None:
        super().__init__()
        self._guard = guard
        self._pool = Pool()
        self._connect_timeout_s = connect_timeout_s
        self._read_timeout_s = read_timeout_s
        self._tls = tls or _system_tls()

    def send(self, request: PreparedRequest, *_: Any, **__: Any) -> Exchange:
        """Asks on a kept connection or a new one, and reads the head of the answer.

        Raises:
            PermanentError: `url_blocked`, `fetch_tls`, `fetch_redirect` or `fetch_protocol`.
            RetryableError: `fetch_dns`, `fetch_refused`, `fetch_timeout` or `fetch_reset`.
        """
        if not isinstance(request, GuardedRequest):
            raise TypeError("the guard has not seen this request")
        try:
            answer, connection = self._ask(request)
        except (OSError, ProtocolError, TruncatedError) as error:
            raise transport_error(error, request.target.host) from error
        return Exchange(request, answer, connection, self._pool)

    def close(self) -> None:
        """Closes the connections that are kept."""
        self._pool.close()

    def _ask(self, request: GuardedRequest) -> tuple[StreamedResponse, Connection]:
        if kept := self._pool.take(request.target.place):
            # The server may have closed it in this very moment, and then it has not seen the request.
            with suppress(ConnectionError, ssl.SSLError):
                return _ask_on(kept, request)
        return _ask_on(self._connect(request.target, request.clock), request)

    def _connect(self, target: Target, clock: Deadline) -> Connection:
        addresses = self._guard.addresses(target, timeout_s=clock.left())
        sock = dial(addresses, target.port, timeout_s=min(self._connect_timeout_s, clock.left()))
        if target.scheme == "https":
            timeout_s = min(self._read_timeout_s, clock.left())
            sock = secure(sock, self._tls, host=target.host, timeout_s=timeout_s)
        return Connection(sock, read_timeout_s=self._read_timeout_s)


class Exchange(Response):
    """The answer to a request, with the connection that it holds until it is closed."""

    raw: StreamedResponse

    def __init__(self, request: GuardedRequest, answer: StreamedResponse, connection: Connection, pool: Pool) -> None:
        # Without that of requests: it makes a jar for cookies, which costs more than all the rest here.
        self.request = request
        self.status_code = answer.status
        self.raw = answer
        self._place = request.target.place
        self._held = connection
        self._pool = pool

    def close(self) -> None:
        """Keeps the connection for the next request if its answer was read to its end, else closes it."""
        if self.raw.ended and self.raw.keep_alive:
            self._pool.give(self._place, self._held)
        else:
            self._held.close()


def _ask_on(connection: Connection, request: GuardedRequest) -> tuple[StreamedResponse, Connection]:
    try:
        return connection.send(request.encoded(), deadline=request.clock), connection
    except BaseException:
        connection.close()
        raise


@functools.cache
def _system_tls() -> ssl.SSLContext:
    # The system's certificates, as an administrator may have added some; certifi's where the system has none.
    context = ssl.create_default_context()
    context.load_verify_locations(certifi.where())
    return context
