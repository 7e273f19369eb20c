"""Ends calls of TLS sockets that outlast their timeout.

OpenSSL reads on while bytes keep arriving, and returns when there is content: a server that sends nothing but session
tickets or other messages of the protocol holds the call beyond the socket's timeout, without end.
"""

from __future__ import annotations

import socket
import ssl
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress

from urllib3.util.ssltransport import SSLTransport

TICK_S = 0.25
GRACE_S = 0.5  # after the timeout, which ends a call itself if the server is silent


class _Call:
    """A call on a TLS socket, which has to be over at `end`."""

    __slots__ = ("end", "ended", "sock")

    def __init__(self, sock: socket.socket, end: float) -> None:
        self.sock = sock
        self.end = end
        self.ended = False


class TlsWatch:
    """Watches the calls of all threads from a thread of its own, which starts with the first call of a process."""

    def __init__(self) -> None:
        self._calls: dict[int, _Call] = {}  # by thread
        self._lock = threading.Lock()
        self._thread: threading.Thread | None = None

    @contextmanager
    def limit(self, sock: socket.socket | SSLTransport, timeout_s: float) -> Iterator[None]:
        """Ends the connection if the block, one call of a TLS socket, takes longer. Does nothing for other sockets.

        Raises:
            TimeoutError: it took longer.
        """
        if isinstance(sock, SSLTransport):
            sock = sock.socket
        if not isinstance(sock, ssl.SSLSocket):
            yield
            return
        self._start()
        call = _Call(sock, time.monotonic() + timeout_s + GRACE_S)
        self._calls[threading.get_ident()] = call
        try:
            yield
        except OSError as error:
            if call.ended:
                raise TimeoutError("the deadline has passed") from error
            raise
        finally:
            del self._calls[threading.get_ident()]
        if call.ended:
            raise TimeoutError("the deadline has passed")

    def _start(self) -> None:
        if self._thread is None or not self._thread.is_alive():  # none, or that of the parent process
            with self._lock:
                if self._thread is None or not self._thread.is_alive():
                    self._thread = threading.Thread(target=self._run, name="tls-watch", daemon=True)
                    self._thread.start()

    def _run(self) -> None:
        while True:
            time.sleep(TICK_S)
            now = time.monotonic()
            for call in list(self._calls.values()):
                if now >= call.end:
                    call.ended = True
                    with suppress(OSError):  # SSLSocket.shutdown would also take the TLS state from under the call
                        socket.socket.shutdown(call.sock, socket.SHUT_RDWR)


TLS_WATCH = TlsWatch()
