"""The setting FETCH_PROXY: the proxy of each media host."""

from __future__ import annotations

import base64
import ipaddress
import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Annotated, Literal
from urllib.parse import SplitResult, unquote, urlsplit

from pydantic import SecretStr, field_validator
from pydantic_settings import BaseSettings

from pipeline.config.parsers import SecretParts

DIRECT = "direct"
MAX_LOGIN = 255  # bytes of a user and of a password, RFC 1929
EXAMPLE = "use http://host:3128, or *.whatsapp.net=socks5://user:password@host:1080,*=direct"

_LABEL = r"[a-z0-9]([a-z0-9_-]{0,61}[a-z0-9])?"
_HOST = re.compile(rf"{_LABEL}(\.{_LABEL})*")
_PATTERN = re.compile(rf"\*|(\*\.)?{_LABEL}(\.{_LABEL})*")
_URL = re.compile(r"[A-Za-z0-9]+://")
_FORBIDDEN = re.compile(r"[\x00-\x20\x7f\\]")

Scheme = Literal["http", "https", "socks5", "socks5h"]
_SCHEMES: dict[str, Scheme] = {"http": "http", "https": "https", "socks5": "socks5", "socks5h": "socks5h"}


@dataclass(frozen=True)
class Proxy:
    """A proxy server. With `user` it gets a login."""

    scheme: Scheme
    host: str
    port: int
    user: str | None = field(default=None, repr=False)
    password: str = field(default="", repr=False)

    @property
    def name(self) -> str:
        """The URL without the login, for messages."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"{self.scheme}://{host}:{self.port}"

    @property
    def basic_login(self) -> str | None:
        """The login as `Proxy-Authorization: Basic` has it; None without a user."""
        if self.user is None:
            return None
        return base64.b64encode(f"{self.user}:{self.password}".encode()).decode()


def parse_proxies(text: str) -> dict[str, Proxy | None]:
    """The proxy of each host or pattern, None for a direct connection; `*` for a URL without a host.

    Raises:
        ValueError: an entry is invalid. The message names its number, because the entry may hold a password.
    """
    proxies: dict[str, Proxy | None] = {}
    entries = [entry.strip() for entry in text.split(",") if entry.strip()]
    for number, entry in enumerate(entries, 1):
        where = f"entry {number} of {len(entries)}"
        pattern, url = ("*", entry) if _URL.match(entry) else _pattern_and_url(entry)
        if not _PATTERN.fullmatch(pattern):
            raise ValueError(f"{where} does not begin with a host or a pattern of hosts: {EXAMPLE}")
        if pattern in proxies:
            raise ValueError(f"{where} is the second proxy of {pattern}")
        proxies[pattern] = None if url.lower() == DIRECT else _proxy(url, where)
    return proxies


def _pattern_and_url(entry: str) -> tuple[str, str]:
    pattern, _, url = entry.partition("=")
    return pattern.strip().lower(), url.strip()


def _proxy(url: str, where: str) -> Proxy:
    try:
        parts = urlsplit(url)
        host, port = parts.hostname or "", parts.port
    except ValueError:
        raise ValueError(f"{where} is not the URL of a proxy: {EXAMPLE}") from None
    if parts.scheme not in _SCHEMES:
        raise ValueError(f"{where} has none of the schemes {', '.join(_SCHEMES)}: {EXAMPLE}")
    is_plain = parts.path in {"", "/"} and not ("?" in url or "#" in url or _FORBIDDEN.search(url))
    if not (is_plain and _is_host(host, bracketed="[" in parts.netloc)):
        raise ValueError(f"{where} is not the URL of a proxy: a password is percent-encoded; {EXAMPLE}")
    if not port:
        raise ValueError(f"{where} has no port: {EXAMPLE}")
    user, password = _login(parts, where)
    return Proxy(_SCHEMES[parts.scheme], host, port, user, password)


def _is_host(host: str, *, bracketed: bool) -> bool:
    if not bracketed:
        return _HOST.fullmatch(host) is not None
    try:
        return bool(ipaddress.IPv6Address(host))
    except ValueError:
        return False


def _login(parts: SplitResult, where: str) -> tuple[str | None, str]:
    if parts.username is None:
        return None, ""
    user, password = unquote(parts.username), unquote(parts.password or "")
    needs_password = parts.scheme.startswith("socks5")  # RFC 1929 has no empty one
    too_long = max(len(user.encode()), len(password.encode())) > MAX_LOGIN
    if not user or too_long or ":" in user or (needs_password and not password):
        raise ValueError(
            f"{where} has no valid login: a user without a colon, and a password of at most {MAX_LOGIN} bytes"
        )
    return user, password


def _secrets(text: str) -> Iterator[str]:
    """The logins in the value, in each form in which they are sent or written."""
    try:
        proxies = parse_proxies(text)
    except ValueError:
        yield text
        return
    logins = [proxy for proxy in proxies.values() if proxy and proxy.user is not None]
    if logins:  # else the value is the name of a proxy, which messages have to show
        yield text
    for proxy in logins:
        yield from (proxy.password, f"{proxy.user}:{proxy.password}", proxy.basic_login or "")
    yield from (part.rpartition("@")[0] for part in text.split("//") if "@" in part)  # as it is written


class ProxySettings(BaseSettings):
    """The proxies of downloads."""

    fetch_proxy: Annotated[SecretStr | None, SecretParts(_secrets)] = None

    @field_validator("fetch_proxy")
    @classmethod
    def _fetch_proxy(cls, value: SecretStr | None) -> SecretStr | None:
        if value:
            parse_proxies(value.get_secret_value())
        return value

    @property
    def fetch_proxies(self) -> dict[str, Proxy | None]:
        """The proxies by host or pattern; None for a direct connection."""
        return parse_proxies(self.fetch_proxy.get_secret_value()) if self.fetch_proxy else {}
