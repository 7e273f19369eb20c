"""The address of a client, for limits per address: that of its connection, or what a trusted proxy says."""

from __future__ import annotations

import ipaddress
from collections.abc import Iterator, Sequence
from typing import Any

from starlette.requests import HTTPConnection

from pipeline.config.types import Network

Address = ipaddress.IPv4Address | ipaddress.IPv6Address
IPV6_PREFIX = 64  # a client usually has all addresses of such a network
UNKNOWN = ""  # a client without an address, as on a unix socket


class ClientAddresses:
    """Finds the addresses of clients. `trusted`: the networks of the reverse proxies (TRUSTED_PROXIES).

    A proxy appends the address of its client to X-Forwarded-For. What is before the last address that is not a trusted
    proxy's was written by the client itself, and is ignored.
    """

    def __init__(self, trusted: Sequence[Network]) -> None:
        self._trusted = trusted

    def is_trusted(self, host: str) -> bool:
        """Whether the connection comes from a trusted proxy."""
        return bool(self._trusted) and (address := _parse(host)) is not None and self._is_proxy(address)

    def address_of(self, connection: HTTPConnection) -> str:
        """The address of the client as text; UNKNOWN without one."""
        peer = connection.client.host if connection.client else UNKNOWN
        if not self.is_trusted(peer):
            return peer
        address = peer
        for hop in _hops(connection.headers.getlist("x-forwarded-for")):
            if hop is None:
                break
            address = str(hop)
            if not self._is_proxy(hop):
                break
        return address

    def group_of(self, connection: HTTPConnection) -> str:
        """What limits per address count: an IPv4 address, or the /64 network of an IPv6 address."""
        return group_of(self.address_of(connection))

    def _is_proxy(self, address: Address) -> bool:
        return any(address in network for network in self._trusted)


def group_of(host: str) -> str:
    """An IPv4 address as it is, an IPv6 address as its /64 network, and other text unchanged."""
    if ":" not in host:
        return host
    address = _parse(host)
    return str(ipaddress.ip_network((address, IPV6_PREFIX), strict=False)) if address and address.version == 6 else host


def client_address(connection: HTTPConnection) -> str:
    """The address of the client of this request, as the logs show it."""
    addresses: Any = connection.app.state.client_addresses
    return str(addresses.address_of(connection))


def client_group(connection: HTTPConnection) -> str:
    """What limits per address count for the client of this request."""
    addresses: Any = connection.app.state.client_addresses
    return str(addresses.group_of(connection))


def _hops(headers: Sequence[str]) -> Iterator[Address | None]:
    """The addresses of X-Forwarded-For from last to first; None for one that is malformed."""
    for text in reversed(",".join(headers).split(",")):
        hop = text.strip()
        if hop.startswith("["):
            hop = hop[1:].partition("]")[0]
        elif hop.count(":") == 1:  # IPv4 with a port
            hop = hop.partition(":")[0]
        yield _parse(hop)


def _parse(host: str) -> Address | None:
    try:
        address = ipaddress.ip_address(host)
    except ValueError:
        return None
    mapped = address.ipv4_mapped if isinstance(address, ipaddress.IPv6Address) else None
    return mapped or address
