"""Opens a TCP or TLS connection to one of several checked addresses."""

from __future__ import annotations

import socket
import ssl
from collections.abc import Sequence

from urllib3.util.ssltransport import SSLTransport

from pipeline.errors import Code, PermanentError, PipelineError, RetryableError
from pipeline.http_client.addresses import Address
from pipeline.http_client.tls_watch import TLS_WATCH

MAX_ADDRESSES = 4  # of one name that are tried: a name with many dead addresses costs no more time than one
MIN_TIMEOUT_S = 0.001  # a timeout of 0 would make the socket non-blocking

Socket = socket.socket | SSLTransport  # SSLTransport is TLS within the TLS of a proxy


def open_socket(addresses: Sequence[Address], port: int, *, timeout_s: float) -> socket.socket:
    """Connects to the first of these addresses that accepts; they share the time.

    Raises:
        RetryableError: `fetch_timeout`, `fetch_refused` or `fetch_reset`.
    """
    addresses = addresses[:MAX_ADDRESSES]
    error = RetryableError(Code.FETCH_REFUSED, "the host name has no address")
    for address in addresses:
        sock = socket.socket(socket.AF_INET if address.version == 4 else socket.AF_INET6)
        try:
            sock.settimeout(max(timeout_s / len(addresses), MIN_TIMEOUT_S))
            sock.connect((str(address), port))
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            return sock
        except TimeoutError:
            error = RetryableError(Code.FETCH_TIMEOUT, "the server did not accept the connection in time")
        except ConnectionResetError:
            error = RetryableError(Code.FETCH_RESET, "the server closed the connection")
        except OSError:
            error = RetryableError(Code.FETCH_REFUSED, "the server refuses connections or is unreachable")
        sock.close()
    raise error


def open_tls(sock: Socket, context: ssl.SSLContext, *, host: str, timeout_s: float) -> Socket:
    """Starts TLS on a connected socket, also within TLS; the certificate must be trusted and issued for the host.

    Raises:
        PermanentError: `fetch_tls`.
        RetryableError: `fetch_timeout` or `fetch_reset`.
    """
    sock.settimeout(max(timeout_s, MIN_TIMEOUT_S))
    try:
        if isinstance(sock, ssl.SSLSocket):
            with TLS_WATCH.limit(sock, timeout_s):
                return SSLTransport(sock, context, host.rstrip("."))
        assert isinstance(sock, socket.socket)
        secured = context.wrap_socket(sock, server_hostname=host.rstrip("."), do_handshake_on_connect=False)
    except (OSError, ValueError) as error:
        sock.close()
        raise _tls_error(error, host) from error
    try:
        with TLS_WATCH.limit(secured, timeout_s):
            secured.do_handshake()
    except (OSError, ValueError) as error:
        secured.close()
        raise _tls_error(error, host) from error
    return secured


def _tls_error(error: OSError | ValueError, host: str) -> PipelineError:
    if isinstance(error, ssl.SSLCertVerificationError):
        return PermanentError(Code.FETCH_TLS, f"{host}: {error.verify_message}")
    if isinstance(error, TimeoutError):
        return RetryableError(Code.FETCH_TIMEOUT, f"{host} did not finish the TLS handshake in time")
    if isinstance(error, (ssl.SSLEOFError, ConnectionError)):
        return RetryableError(Code.FETCH_RESET, f"{host} closed the connection during the TLS handshake")
    return PermanentError(Code.FETCH_TLS, f"{host} offers no secure TLS")
