"""Opens a connection to a checked address through a proxy.

The proxy gets the address that the guard has checked, never the name, so that it cannot resolve it to another one. Only
a `socks5h` proxy gets the name: it resolves it again, and what it finds is not checked.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from contextlib import suppress

from pipeline.config.proxies import Proxy
from pipeline.http_client.addresses import Address
from pipeline.http_client.connect import Socket
from pipeline.http_client.handshake import Handshake, ProxyError
from pipeline.http_client.socks import connect_through_socks
from pipeline.http_client.ssrf_guard import Target

MAX_ADDRESSES = 2  # of one name that are tried through a proxy
_STATUS = re.compile(rb"HTTP/1\.[01] ([1-5][0-9]{2})(?: |\r|$)")
LOGIN_NEEDED = 407

Dial = Callable[[Proxy], Socket]


def open_tunnel(
    proxy: Proxy, target: Target, addresses: Sequence[Address], *, dial: Dial, left: Callable[[], float]
) -> Socket:
    """A connection to one of these addresses through the proxy. `dial` connects to the proxy.

    `left` returns the seconds that are left for the handshake.

    Raises:
        ProxyError: `fetch_proxy`. The message names the proxy, without its login.
    """
    reason = "has no address"
    hosts = [target.host] if proxy.scheme == "socks5h" else sorted(addresses, key=lambda address: address.version)
    for host in hosts[:MAX_ADDRESSES]:
        sock = dial(proxy)
        try:
            failure = _connect(Handshake(proxy, sock, timeout_s=left()), host, target.port)
        except BaseException:
            sock.close()
            raise
        if failure is None:
            return sock
        reason = failure
        with suppress(OSError):
            sock.close()
    raise ProxyError(proxy, f"does not reach {target.host}: {reason}")


def _connect(handshake: Handshake, host: str | Address, port: int) -> str | None:
    if handshake.proxy.scheme in {"http", "https"}:
        return _connect_through_http(handshake, host, port)
    return connect_through_socks(handshake, host, port)


def _connect_through_http(handshake: Handshake, host: str | Address, port: int) -> str | None:
    """CONNECT (RFC 9110 §9.3.6), also for http URLs: in a usual request the proxy would resolve the name itself."""
    proxy = handshake.proxy
    authority = f"[{host}]:{port}" if ":" in str(host) else f"{host}:{port}"
    login = f"Proxy-Authorization: Basic {proxy.basic_login}\r\n" if proxy.basic_login else ""
    handshake.send(f"CONNECT {authority} HTTP/1.1\r\nHost: {authority}\r\n{login}\r\n".encode("ascii"))
    head, rest = handshake.read_head()
    match = _STATUS.match(head)
    status = int(match[1]) if match else 0
    if status >= 500:
        return f"it answers {status}"
    if status == LOGIN_NEEDED:
        raise ProxyError(proxy, f"answers 407: it {'refuses the' if login else 'wants a'} login in FETCH_PROXY")
    if not 200 <= status < 300:
        raise ProxyError(proxy, f"answers {status} to CONNECT" if status else "does not answer as an HTTP proxy")
    if rest:  # no server has been asked for anything yet
        raise ProxyError(proxy, "sends a response before the request")
    return None
