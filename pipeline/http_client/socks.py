"""The client's side of SOCKS 5 (RFC 1928), with the login by user and password (RFC 1929)."""

from __future__ import annotations

import ipaddress

from pipeline.config.proxies import Proxy
from pipeline.http_client.addresses import Address
from pipeline.http_client.handshake import Handshake, ProxyError

VERSION, LOGIN_VERSION = 5, 1
NO_LOGIN, LOGIN, NO_METHOD = 0, 2, 0xFF
CONNECT = 1
IPV4, NAME, IPV6 = 1, 3, 4
_ADDRESS_BYTES = {IPV4: 4, IPV6: 16}
SUCCEEDED, NOT_ALLOWED = 0, 2
_REASONS = {
    1: "it has a fault",
    3: "its network is unreachable",
    4: "its host is unreachable",
    5: "it refuses the connection",
    6: "it does not answer in time",
    7: "the command is not supported",
    8: "this kind of address is not supported",
}


def connect_through_socks(handshake: Handshake, host: str | Address, port: int) -> str | None:
    """Asks the proxy for a connection to an address, or to a name that it resolves itself.

    Returns None once it is connected, else why the proxy does not reach this address.

    Raises:
        ProxyError: the proxy refuses the login or the connection, is silent or does not speak SOCKS 5.
    """
    _log_in(handshake)
    handshake.send(bytes([VERSION, CONNECT, 0]) + _encode(host) + port.to_bytes(2, "big"))
    version, reply, _, kind = handshake.read(4)
    if version != VERSION:
        raise _no_socks(handshake.proxy)
    if reply == NOT_ALLOWED:
        raise ProxyError(handshake.proxy, "does not allow connections to this server")
    if reply != SUCCEEDED:
        return _REASONS.get(reply, f"it answers {reply}")
    if kind != NAME and kind not in _ADDRESS_BYTES:
        raise _no_socks(handshake.proxy)
    length = handshake.read(1)[0] if kind == NAME else _ADDRESS_BYTES[kind]
    handshake.read(length + 2)  # the address and the port that the proxy uses
    return None


def _log_in(handshake: Handshake) -> None:
    proxy = handshake.proxy
    methods = [NO_LOGIN] if proxy.user is None else [NO_LOGIN, LOGIN]
    handshake.send(bytes([VERSION, len(methods), *methods]))
    version, method = handshake.read(2)
    if version != VERSION:
        raise _no_socks(proxy)
    if method == NO_METHOD or method not in methods:
        missing = "wants a login, and FETCH_PROXY has none" if proxy.user is None else "offers no login by password"
        raise ProxyError(proxy, missing)
    if method == LOGIN and proxy.user is not None:
        handshake.send(bytes([LOGIN_VERSION]) + _counted(proxy.user) + _counted(proxy.password))
        _, status = handshake.read(2)
        if status:
            raise ProxyError(proxy, "refuses the login in FETCH_PROXY")


def _encode(host: str | Address) -> bytes:
    if isinstance(host, str):
        return bytes([NAME]) + _counted(host)
    return bytes([IPV4 if isinstance(host, ipaddress.IPv4Address) else IPV6]) + host.packed


def _counted(text: str) -> bytes:
    data = text.encode()
    return bytes([len(data)]) + data


def _no_socks(proxy: Proxy) -> ProxyError:
    return ProxyError(proxy, "does not answer as a SOCKS 5 proxy")
