"""The SSRF guard: decides which URLs may be requested, and which addresses a connection may go to."""

from __future__ import annotations

import ipaddress
import queue
import re
import socket
import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from functools import lru_cache
from urllib.parse import quote, urljoin, urlsplit

from pipeline.config.types import Network
from pipeline.errors import Code, PermanentError, RetryableError
from pipeline.http_client.addresses import Address, is_public, is_within

DEFAULT_PORTS = {"http": 80, "https": 443}
LOCALHOST_ADDRESSES = ("127.0.0.1", "::1")
MAX_HOST = 253  # characters of a name, RFC 1035
# A longer one is refused before it is parsed: urlsplit normalises it, in time quadratic to a run of combining marks.
MAX_AUTHORITY = MAX_HOST + len(":65535")
_SCHEME = re.compile(r"([A-Za-z][A-Za-z0-9+.-]*):")
_AUTHORITY = re.compile(r"[^/?#]*")
_REFERENCE = re.compile(r" *(?:[A-Za-z][A-Za-z0-9+.-]*:)?//([^/?#]*)")  # a relative URL has no authority
_FORBIDDEN = re.compile(r"[\x00-\x1f\x7f\\]")
_NAME = re.compile(r"(?:(?!-)[a-z0-9_-]{1,63}(?<!-)\.)*(?!-)[a-z0-9_-]{1,63}(?<!-)\.?")
_IPV6 = re.compile(r"\[([0-9A-Fa-f:.]+)\](?::[0-9]*)?")
_LOCALHOST = re.compile(r"(?:.+\.)?localhost\.?")  # never sent to a name server, RFC 6761 §6.3
_NUMBER = re.compile(r"[0-9]+|0x[0-9a-f]*")
_URL_SAFE = "%/:?[]@!$&'()*+,;=~"  # characters that a path or a query may hold unquoted, RFC 3986
_NOTHING_TO_QUOTE = re.compile(r"[A-Za-z0-9_.~%/:?\[\]@!$&'()*+,;=-]*")
_CACHED_HOSTS = 1024

Resolver = Callable[[str, int], Sequence[str]]
Origin = tuple[str, str, int]  # scheme, host, port


@dataclass(frozen=True)
class Target:
    """A parsed URL. `host` is a lower-case ASCII name or an IP address without brackets.

    `trusted` allows any address and port, for a server from the settings.
    """

    scheme: str
    host: str
    port: int
    path: str = field(repr=False)  # with the query, which may hold a signature
    trusted: bool = False

    @property
    def origin(self) -> Origin:
        return self.scheme, self.host, self.port

    @property
    def authority(self) -> str:
        """The value of the Host header."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return host if self.port == DEFAULT_PORTS[self.scheme] else f"{host}:{self.port}"

    @property
    def url(self) -> str:
        """The whole URL. Its query may hold a secret: do not log it."""
        return f"{self.scheme}://{self.authority}{self.path}"


def parse_url(url: str) -> Target:
    """Parses a URL, and refuses every form that two parsers might read differently.

    Raises:
        PermanentError: `url_scheme` unless it is http or https, `url_blocked` for a form that is refused.
    """
    url = url.strip(" ")
    scheme_match = _SCHEME.match(url)
    if not scheme_match or scheme_match[1].lower() not in DEFAULT_PORTS:
        raise PermanentError(Code.URL_SCHEME, "only http and https URLs are allowed")
    if not url.startswith("//", scheme_match.end()) or _FORBIDDEN.search(url):
        raise _blocked("the URL is malformed")
    scheme = scheme_match[1].lower()
    authority_match = _AUTHORITY.match(url, scheme_match.end() + 2)
    assert authority_match
    # Parsers disagree on where the host ends in `//a#@b` and `//a?@b`. Valid URLs contain neither.
    if "@" in url[authority_match.start() :].partition("/")[0]:
        raise _blocked("the URL contains a user name")
    if len(authority_match[0]) > MAX_AUTHORITY:
        raise _blocked("the URL has no host name, or one that is too long")
    host, port = _host_and_port(scheme, authority_match[0])
    return Target(scheme, host, port, _path(url[authority_match.end() :].partition("#")[0]))


def join_url(base: str, reference: str) -> str:
    """The absolute URL of a reference in a redirect, unchecked.

    Raises:
        PermanentError: `url_blocked` for a form that cannot be joined.
    """
    match = _REFERENCE.match(reference)
    if _FORBIDDEN.search(reference) or (match and len(match[1]) > MAX_AUTHORITY):
        raise _blocked("the URL is malformed")
    try:
        return urljoin(base, reference)
    except ValueError:
        raise _blocked("the URL is malformed") from None


@lru_cache(maxsize=_CACHED_HOSTS)
def _host_and_port(scheme: str, netloc: str) -> tuple[str, int]:
    try:
        port = urlsplit(f"//{netloc}").port
    except ValueError:
        raise _blocked("the URL is malformed") from None
    if port == 0:
        raise _blocked("port 0 is not allowed")
    return _host(netloc), DEFAULT_PORTS[scheme] if port is None else port


def _path(text: str) -> str:
    """The path with the query, as it is requested."""
    path, separator, query = text.partition("?")
    whole = f"{path or '/'}{separator if query else ''}{query}"
    return whole if _NOTHING_TO_QUOTE.fullmatch(whole) else quote(whole, safe=_URL_SAFE)


def _host(netloc: str) -> str:
    if literal := _IPV6.fullmatch(netloc):
        return _ipv6(literal[1])
    host = _ascii(netloc.partition(":")[0])
    if not _NAME.fullmatch(host):
        raise _blocked("the host name is malformed")
    # The C library also reads 127.1, 0x7f.1, 0177.0.0.1 and 2130706433 as addresses. Only the usual form is allowed.
    if _NUMBER.fullmatch(host.rstrip(".").rpartition(".")[2]) and not ip_address(host):
        raise _blocked("the host is an IP address in an unusual form")
    return host


def _ascii(host: str) -> str:
    if not host or len(host) > MAX_HOST:
        raise _blocked("the URL has no host name, or one that is too long")
    if host.isascii():
        return host.lower()
    try:
        return host.encode("idna").decode("ascii").lower()
    except UnicodeError:
        raise _blocked("the host name is malformed") from None


def _ipv6(text: str) -> str:
    try:
        return str(ipaddress.IPv6Address(text))
    except ValueError:
        raise _blocked("the host name is malformed") from None


def ip_address(host: str) -> Address | None:
    """The address that a host name consists of; None for a name."""
    try:
        return ipaddress.ip_address(host)
    except ValueError:
        return None


def is_localhost(host: str) -> bool:
    """Whether a name is `localhost` or ends in it."""
    return _LOCALHOST.fullmatch(host) is not None


def names_this_machine(target: Target) -> bool:
    """Whether a URL leads to this machine whatever a name server answers: a loopback address, or `localhost`."""
    address = ip_address(target.host)
    if isinstance(address, ipaddress.IPv6Address) and address.ipv4_mapped:  # loopback for Python 3.13, not for 3.11
        return False
    return address.is_loopback if address else is_localhost(target.host)


def _blocked(message: str) -> PermanentError:
    return PermanentError(Code.URL_BLOCKED, message)


def system_resolver(host: str, port: int) -> list[str]:
    """Every address that this machine resolves a name to, in its order of preference."""
    answers = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    return list(dict.fromkeys(str(sockaddr[0]) for *_, sockaddr in answers))


class SsrfGuard:
    """Allows public addresses on `ports`, and the networks of `allow_private` on any port."""

    def __init__(self, *, allow_private: Sequence[Network], ports: Sequence[int], resolver: Resolver) -> None:
        self._allowed = tuple(allow_private)
        self._ports = frozenset(ports)
        self._resolver = resolver
        self._check_ip_literal_cached = lru_cache(maxsize=_CACHED_HOSTS)(self._check_ip_literal)

    def check_url(self, url: str, *, trusted_origin: Origin | None = None, own_machine: bool = False) -> Target:
        """The parsed URL, if its form, scheme, port and, if it holds one, IP address are allowed.

        A URL of `trusted_origin` is allowed at any address; with `own_machine`, one that names this machine is too.

        Raises:
            PermanentError: `url_scheme` or `url_blocked`.
        """
        target = parse_url(url)
        if target.origin == trusted_origin or (own_machine and names_this_machine(target)):
            return replace(target, trusted=True)
        # With private networks allowed, the port depends on the address: `resolve` checks it once the address is known.
        if target.port not in self._ports and not self._allowed:
            raise _blocked(f"port {target.port} is not allowed")
        self._check_ip_literal_cached(target.host, target.port)
        return target

    def resolve(self, target: Target, *, timeout_s: float) -> list[Address]:
        """The addresses that a connection to a target may go to. The name is resolved once, every address is checked.

        Raises:
            PermanentError: `url_blocked`, if one address is not public or the port is not allowed.
            RetryableError: `fetch_dns`, if the name does not resolve in time.
        """
        if literal := ip_address(target.host):
            addresses = [literal]
        else:
            addresses = [address for answer in self._look_up(target, timeout_s) if (address := ip_address(answer))]
        return addresses if target.trusted else self._allowed_of(target.host, target.port, addresses)

    def _check_ip_literal(self, host: str, port: int) -> None:
        if address := ip_address(host):
            self._allowed_of(host, port, [address])

    def _allowed_of(self, host: str, port: int, addresses: list[Address]) -> list[Address]:
        # `localhost` is 127.0.0.1 and ::1: if only one of them is allowed, connections go to that one.
        if allowed := [address for address in addresses if is_within(address, self._allowed)]:
            return allowed
        if port not in self._ports:
            raise _blocked(f"port {port} is not allowed")
        if not all(map(is_public, addresses)):
            raise _blocked(f"{host} is not a public address")
        return addresses

    def _look_up(self, target: Target, timeout_s: float) -> Sequence[str]:
        if is_localhost(target.host):
            return LOCALHOST_ADDRESSES
        # getaddrinfo has no timeout: it runs in a thread of its own, which is abandoned when the time is over.
        answer: queue.SimpleQueue[Sequence[str] | None] = queue.SimpleQueue()

        def run() -> None:
            try:
                answer.put(self._resolver(target.host, target.port))
            except (OSError, UnicodeError):
                answer.put(None)

        threading.Thread(target=run, name="resolve", daemon=True).start()
        try:
            addresses = answer.get(timeout=max(timeout_s, 0))
        except queue.Empty:
            raise RetryableError(Code.FETCH_DNS, f"{target.host} was not resolved in time") from None
        if not addresses:
            raise RetryableError(Code.FETCH_DNS, f"{target.host} cannot be resolved")
        return addresses
