"""From checked addresses to a socket, and TLS over it."""

from __future__ import annotations

import socket
import ssl
from collections.abc import Sequence
from typing import TYPE_CHECKING

from pipeline.errors import Code, PermanentError, PipelineError, RetryableError

if TYPE_CHECKING:
    from pipeline.http_client.addresses import Address

MAX_ADDRESSES = 4  # of one name that are tried, so that a name with many dead ones costs no more than one


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
