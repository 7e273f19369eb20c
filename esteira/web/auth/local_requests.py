"""Detect requests that come directly from this machine, for ALLOW_UNSIGNED_HOOKS."""

from __future__ import annotations

import ipaddress
import re

from fastapi import Request

# Headers that a proxy or a tunnel adds for its client, and a browser for the page that sends the request.
FORWARDING_HEADERS = frozenset(
    {
        *("forwarded", "x-forwarded-for", "x-forwarded-host", "x-forwarded-proto", "x-real-ip", "via"),
        *("cf-connecting-ip", "true-client-ip", "origin", "sec-fetch-site"),
    }
)
HOST_HEADER = re.compile(r"(localhost|[0-9.]+|\[[0-9a-f:.]+\])(?::[0-9]+)?", re.IGNORECASE)


def is_local_request(request: Request) -> bool:
    """Whether a request was sent by this machine to one of its loopback addresses, and not forwarded for a client.

    Proxies, tunnels and browsers on this machine connect from a loopback address too. They are recognised by a
    forwarding header, by a Host header that names another host, or by HTTP/1.0, which old proxies use by default.
    A proxy that hides all three cannot be recognised.
    """
    ends = (request.scope.get("client"), request.scope.get("server"))
    host = HOST_HEADER.fullmatch(request.headers.get("host", ""))
    direct = request.scope.get("http_version") != "1.0" and FORWARDING_HEADERS.isdisjoint(request.headers.keys())
    addresses = [end[0] for end in ends if end] + ([host[1].strip("[]")] if host else [])
    return direct and len(addresses) == 3 and all(map(_is_loopback, addresses))


def _is_loopback(address: str) -> bool:
    if address.lower() == "localhost":
        return True
    try:
        return ipaddress.ip_address(address).is_loopback
    except ValueError:
        return False
