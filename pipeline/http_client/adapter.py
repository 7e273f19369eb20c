"""The adapter for requests: connects to checked addresses only, and keeps connections open for further requests.

`send` is the interface that `requests.Session` calls; the client mounts it for calls to APIs. `open` is the same
without the objects of requests. Downloads and webhooks use it: the Session's own work takes longer than all the rest.
"""

from __future__ import annotations

import functools
import ssl
from collections.abc import Iterator, Mapping
from contextlib import suppress
from functools import partial
from types import MappingProxyType
from typing import Any, NamedTuple

import certifi
from requests import PreparedRequest, Response
from requests.adapters import BaseAdapter
from requests.structures import CaseInsensitiveDict
from requests.utils import get_encoding_from_headers

from pipeline.config.proxies import Proxy
from pipeline.errors import PipelineError
from pipeline.http_client.body import Body
from pipeline.http_client.connect import Socket, open_socket, open_tls
from pipeline.http_client.connection import Connection, StreamedResponse, TruncatedError
from pipeline.http_client.connection_pool import ConnectionPool, PoolKey
from pipeline.http_client.deadline import Deadline
from pipeline.http_client.handshake import ProxyError
from pipeline.http_client.host_patterns import HostPatterns
from pipeline.http_client.response_parser import ProtocolError
from pipeline.http_client.responses import check_encoding, transport_error
from pipeline.http_client.ssrf_guard import SsrfGuard, Target
from pipeline.http_client.tunnel import open_tunnel

USER_AGENT = "Esteira"
NO_HEADERS: Mapping[str, str] = MappingProxyType({})
DEFAULT_HEADERS = MappingProxyType({"User-Agent": USER_AGENT, "Accept-Encoding": "identity", "Accept": "*/*"})


class GuardedRequest(NamedTuple):
    """A request to a target that the guard has checked. `headers` are added to the default ones.

    With `proxied` it goes through the proxy of its host, if that has one. A trusted target is connected directly.
    """

    method: str
    target: Target
    deadline: Deadline
    headers: Mapping[str, str] = NO_HEADERS
    body: bytes = b""
    proxied: bool = False

    def encode(self) -> bytes:
        """The request as it is sent. Raises ValueError for a header that holds a line break."""
        target = self.target
        headers = _encode_headers({**DEFAULT_HEADERS, **self.headers}) if self.headers else _DEFAULT_LINES
        head = f"{self.method} {target.path} HTTP/1.1\r\nHost: {target.authority}\r\n{headers}\r\n"
        return head.encode("latin-1") + self.body


class GuardedAdapter(BaseAdapter):
    """Sends requests over connections to addresses that the guard has checked. Safe for many threads.

    `max_reply_bytes` limits the bodies that `send` returns; those of `open` are limited by their reader. Set the
    attribute `proxies` to the proxies of hosts.
    """

    def __init__(
        self,
        guard: SsrfGuard,
        *,
        connect_timeout_s: float,
        read_timeout_s: float,
        tls: ssl.SSLContext | None,
        max_reply_bytes: int,
    ) -> None:
        super().__init__()
        self._guard = guard
        self._pool = ConnectionPool()
        self._connect_timeout_s = connect_timeout_s
        self._read_timeout_s = read_timeout_s
        self._tls = tls or _system_tls()
        self._max_reply_bytes = max_reply_bytes
        self.proxies: HostPatterns[Proxy | None] = HostPatterns({})

    def open(self, request: GuardedRequest) -> OpenResponse:
        """Sends a request over a kept or a new connection and reads the head of the response.

        Raises:
            PermanentError: `url_blocked`, `fetch_tls`, `fetch_redirect` or `fetch_protocol`.
            RetryableError: `fetch_dns`, `fetch_refused`, `fetch_timeout`, `fetch_reset` or `fetch_proxy`.
        """
        try:
            response, connection = self._exchange(request)
        except (OSError, ProtocolError, TruncatedError) as error:
            raise transport_error(error, request.target.host) from error
        return OpenResponse(response, connection, self._pool, self._pool_key(request))

    def send(self, request: PreparedRequest, *_: Any, timeout: Any = None, **__: Any) -> Response:
        """The same for a `requests.Session`. `timeout` limits the whole request in seconds and has to be a number.

        Certificates are always verified; the other arguments of `requests` (verify, cert, proxies) have no effect.

        Raises:
            PermanentError: `url_scheme`, and what `open` raises. Reading the body raises `too_large` too.
            RetryableError: what `open` raises. Reading the body raises `fetch_truncated` too.
        """
        body = request.body.encode() if isinstance(request.body, str) else request.body or b""
        if not (isinstance(timeout, (int, float)) and isinstance(body, bytes) and request.url and request.method):
            raise TypeError("requests need a timeout in seconds, and a body of bytes or text")
        target = self._guard.check_url(request.url)
        guarded = GuardedRequest(request.method, target, Deadline(timeout), request.headers, body, proxied=True)
        opened = self.open(guarded)
        response = Response()
        response.status_code = opened.response.status
        response.headers = CaseInsensitiveDict(opened.response.headers.items())
        response.encoding = get_encoding_from_headers(response.headers)
        response.url = request.url
        response.request = request
        response.raw = _RawBody(opened, max_bytes=self._max_reply_bytes, host=target.host)
        return response

    def check_proxy(self, proxy: Proxy) -> None:
        """See `HttpClient.check_proxy`."""
        self._dial(proxy, deadline=Deadline(self._connect_timeout_s)).close()

    def close(self) -> None:
        """Closes the kept connections."""
        self._pool.close()

    def _exchange(self, request: GuardedRequest) -> tuple[StreamedResponse, Connection]:
        data = request.encode()
        if kept := self._pool.get(self._pool_key(request)):
            # The server may have closed the connection at this moment; in that case it has not read the request.
            with suppress(ConnectionError, ssl.SSLError):
                return _send_on(kept, data, request.deadline)
        return _send_on(self._connect(request), data, request.deadline)

    def _pool_key(self, request: GuardedRequest) -> PoolKey:
        return request.target.origin, request.target.trusted, self._proxy(request)

    def _proxy(self, request: GuardedRequest) -> Proxy | None:
        usable = request.proxied and not request.target.trusted
        return self.proxies.of(request.target.host) if usable else None

    def _connect(self, request: GuardedRequest) -> Connection:
        target, deadline = request.target, request.deadline

        def left() -> float:
            return min(self._read_timeout_s, deadline.left())

        sock: Socket
        addresses = self._guard.resolve(target, timeout_s=left())
        if proxy := self._proxy(request):
            dial = partial(self._dial, deadline=deadline)
            sock = open_tunnel(proxy, target, addresses, dial=dial, left=left)
        else:
            sock = open_socket(addresses, target.port, timeout_s=min(self._connect_timeout_s, deadline.left()))
        if target.scheme == "https":
            sock = open_tls(sock, self._tls, host=target.host, timeout_s=left())
        return Connection(sock, read_timeout_s=self._read_timeout_s)

    def _dial(self, proxy: Proxy, *, deadline: Deadline) -> Socket:
        """A connection to a proxy, which may have any address. Raises ProxyError."""
        target = Target("https" if proxy.scheme == "https" else "http", proxy.host, proxy.port, "/", trusted=True)
        try:
            timeout_s = min(self._connect_timeout_s, deadline.left())
            addresses = self._guard.resolve(target, timeout_s=timeout_s)
            sock: Socket = open_socket(addresses, proxy.port, timeout_s=timeout_s)
            if target.scheme == "https":
                sock = open_tls(sock, self._tls, host=proxy.host, timeout_s=timeout_s)
        except PipelineError as error:
            raise ProxyError(proxy, f"is unreachable: {error.message}") from error
        return sock


class OpenResponse:
    """A response and the connection that carries it. A context manager that releases the connection."""

    def __init__(self, response: StreamedResponse, connection: Connection, pool: ConnectionPool, key: PoolKey) -> None:
        self.response = response
        self._connection = connection
        self._pool = pool
        self._key = key
        self._released = False

    def __enter__(self) -> StreamedResponse:
        return self.response

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Keeps the connection for another request if the body was read to its end, else closes it."""
        if self._released:
            return
        self._released = True
        if self.response.ended and self.response.keep_alive:
            self._pool.put(self._key, self._connection)
        else:
            self._connection.close()


class _RawBody:
    """The `raw` of a `requests.Response`: the part of urllib3's interface that requests uses."""

    def __init__(self, opened: OpenResponse, *, max_bytes: int, host: str) -> None:
        self._opened = opened
        self._max_bytes = max_bytes
        self._host = host

    def stream(self, *_: Any, **__: Any) -> Iterator[bytes]:
        with self._opened as response:
            check_encoding(response.headers)
            yield from Body(response, max_bytes=self._max_bytes, host=self._host).chunks()

    def close(self) -> None:
        self._opened.close()


def _send_on(connection: Connection, data: bytes, deadline: Deadline) -> tuple[StreamedResponse, Connection]:
    try:
        return connection.send(data, deadline=deadline), connection
    except BaseException:
        connection.close()
        raise


def _encode_headers(headers: Mapping[str, str]) -> str:
    if any(mark in text for header in headers.items() for text in header for mark in "\r\n\0"):
        raise ValueError("a header may not hold a line break")
    return "".join(f"{name}: {value}\r\n" for name, value in headers.items())


_DEFAULT_LINES = _encode_headers(DEFAULT_HEADERS)


@functools.cache
def _system_tls() -> ssl.SSLContext:
    # The system's certificates, to which an administrator may have added, and certifi's for systems that have none.
    context = ssl.create_default_context()
    context.load_verify_locations(certifi.where())
    return context
