"""TLS: refused certificates, failed handshakes and reuse of connections."""

from __future__ import annotations

import ssl
from datetime import datetime

import pytest
import trustme

from pipeline.errors import Code, PermanentError, RetryableError
from tests.support.hostile_server import HostileServer, Peer, stalls
from tests.support.http_client import Names, download, local_http_client
from tests.support.media_server import MediaServer
from tests.support.tls import client_context, server_context

AUTHORITY = trustme.CA()
OTHER = trustme.CA()
LONG_AGO = datetime(2001, 1, 1)  # trustme takes naive times  # noqa: DTZ001  # trustme takes naive times


@pytest.mark.parametrize(
    "certificate",
    [
        pytest.param(server_context(OTHER, "media.example"), id="HTTP-15-unknown-authority"),
        pytest.param(server_context(AUTHORITY, "other.example"), id="HTTP-15-wrong-host"),
        pytest.param(server_context(AUTHORITY, "127.0.0.1"), id="HTTP-15-address-instead-of-name"),
        pytest.param(server_context(AUTHORITY, "media.example", not_after=LONG_AGO), id="HTTP-15-expired"),
    ],
)
def test_invalid_certificate_is_refused(certificate: ssl.SSLContext) -> None:
    with MediaServer({"a": b"x"}, tls=certificate) as server:
        http_client = local_http_client(resolver=Names(["127.0.0.1"]), tls=client_context(AUTHORITY))
        with pytest.raises(PermanentError) as error:
            download(http_client, server.url("a", host="media.example"))
        assert error.value.code == Code.FETCH_TLS
        assert server.requests == []


def test_unknown_authority_is_refused_by_default() -> None:
    """HTTP-15."""
    with MediaServer({"a": b"x"}, tls=server_context(OTHER, "127.0.0.1")) as server:
        with pytest.raises(PermanentError) as error:
            download(local_http_client(), server.url("a"))
        assert error.value.code == Code.FETCH_TLS


def test_server_without_tls_is_refused() -> None:
    def plain(peer: Peer) -> None:
        peer.send(b"HTTP/1.1 400 Bad Request\r\n\r\n")
        peer.wait()

    with HostileServer(plain) as server:
        with pytest.raises(PermanentError) as error:
            download(local_http_client(), server.url().replace("http:", "https:"))
        assert error.value.code == Code.FETCH_TLS


def test_stalled_handshake_times_out() -> None:
    with HostileServer(stalls()) as server:
        with pytest.raises(RetryableError) as error:
            download(local_http_client(read_timeout_s=0.2), server.url().replace("http:", "https:"))
        assert error.value.code == Code.FETCH_TIMEOUT


def test_reset_handshake_is_retryable() -> None:
    with HostileServer(lambda peer: peer.reset()) as server:
        with pytest.raises(RetryableError) as error:
            download(local_http_client(), server.url().replace("http:", "https:"))
        assert error.value.code == Code.FETCH_RESET


@pytest.mark.parametrize("host", ["media.example", "media.example.", "127.0.0.1"])
def test_tls_connection_is_reused(host: str) -> None:
    certificate = server_context(AUTHORITY, "media.example", "127.0.0.1")
    with MediaServer({"a": b"a" * 300_000, "b": b"b"}, tls=certificate) as server:
        http_client = local_http_client(resolver=Names(["127.0.0.1"]), tls=client_context(AUTHORITY))
        assert download(http_client, server.url("a", host=host)) == b"a" * 300_000
        assert download(http_client, server.url("b", host=host)) == b"b"
        assert server.connections == 1
