"""Bytes exchanged with a proxy before its connection carries anything else, all within one time limit."""

from __future__ import annotations

import time

from pipeline.config.proxies import Proxy
from pipeline.errors import Code, RetryableError
from pipeline.http_client.connect import MIN_TIMEOUT_S, Socket
from pipeline.http_client.tls_watch import TLS_WATCH

MAX_HEAD = 16 * 1024  # bytes of the response to CONNECT
END_OF_HEAD = b"\r\n\r\n"
HTTP = b"HTTP/1."


class ProxyError(RetryableError):
    """Raised when a proxy prevents a download. The message names the proxy, without its login."""

    def __init__(self, proxy: Proxy, message: str) -> None:
        super().__init__(Code.FETCH_PROXY, f"the proxy {proxy.name} {message}")


class Handshake:
    """A connection to a proxy until its handshake is over; every wait ends `timeout_s` after the start.

    Raises, from every method:
        ProxyError: the proxy is silent, or ends the connection.
    """

    def __init__(self, proxy: Proxy, sock: Socket, *, timeout_s: float) -> None:
        self.proxy = proxy
        self._socket = sock
        self._end = time.monotonic() + timeout_s

    def send(self, data: bytes) -> None:
        try:
            with TLS_WATCH.limit(self._socket, self._set_timeout()):
                self._socket.sendall(data)
        except OSError as error:
            raise self._lost(error) from error

    def read(self, count: int) -> bytes:
        """Exactly so many bytes."""
        data = b""
        while len(data) < count:
            data += self._receive(count - len(data))
        return data

    def read_head(self) -> tuple[bytes, bytes]:
        """The head of an HTTP response, and what was received behind it."""
        head = b""
        while END_OF_HEAD not in head:
            head += self._receive(MAX_HEAD)
            if not HTTP.startswith(head[: len(HTTP)]) or len(head) > MAX_HEAD:
                raise ProxyError(self.proxy, "does not answer as an HTTP proxy")
        head, _, rest = head.partition(END_OF_HEAD)
        return head, rest

    def _receive(self, count: int) -> bytes:
        try:
            with TLS_WATCH.limit(self._socket, self._set_timeout()):
                data = self._socket.recv(count)
        except OSError as error:
            raise self._lost(error) from error
        if not data:
            raise ProxyError(self.proxy, "closes the connection")
        assert isinstance(data, bytes)
        return data

    def _set_timeout(self) -> float:
        left = self._end - time.monotonic()
        if left <= 0:
            raise TimeoutError
        self._socket.settimeout(max(left, MIN_TIMEOUT_S))
        return left

    def _lost(self, error: OSError) -> ProxyError:
        silent = isinstance(error, TimeoutError)
        return ProxyError(self.proxy, "does not answer in time" if silent else "closes the connection")
