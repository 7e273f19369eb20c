"""The forms that settings come in as text: networks, hosts, URLs of servers."""

from __future__ import annotations

import ipaddress
import re
from typing import Any
from urllib.parse import urlsplit

CLAMD_PORT = 3310

_LABEL = r"[a-z0-9]([a-z0-9_-]{0,61}[a-z0-9])?"
_HOST = re.compile(rf"{_LABEL}(\.{_LABEL})*(:[0-9]{{1,5}})?")
_RATE = re.compile(
    rf"(?P<host>\*|(\*\.)?{_LABEL}(\.{_LABEL})*)\s*=\s*(?P<n>[0-9]{{1,6}}(\.[0-9]{{1,3}})?)/(?P<unit>[smh])"
)
_SECONDS = {"s": 1, "m": 60, "h": 3600}
_NO_WEB_URL = re.compile(r"[\x00-\x20\x7f@?#\\]")
_LOGIN = re.compile(r"//[^/\s]*@")
_QUERY = re.compile(r"\?.*", re.DOTALL)


def as_network(value: Any) -> Any:
    """A network from its text; what is no text passes unchanged. Raises ValueError."""
    if not isinstance(value, str):
        return value
    try:
        return ipaddress.ip_network(value)
    except ValueError as error:
        fault = str(error) if "host bits" in str(error) else "is no network"
        raise ValueError(f"{value!r} {fault.removeprefix(value).strip()}: use 10.1.2.0/24 or fd00::/8") from None


def as_host(value: Any) -> Any:
    """The name of a host, with a port if need be, in lower case. Raises ValueError."""
    if isinstance(value, str) and not _HOST.fullmatch(value.lower()):
        raise ValueError(f"{value!r} is no name of a host: use mmg.whatsapp.net")
    return value.lower() if isinstance(value, str) else value


def as_origin(value: Any) -> Any:
    """The origin of web pages as a browser sends it; what is no text passes unchanged. Raises ValueError."""
    if isinstance(value, str) and not (is_web_url(value) and value.count("/") == 2 and value == value.lower()):
        raise ValueError(f"{value!r} is no origin of pages: use https://app.example.com, without a path")
    return value


def as_weights(value: Any) -> Any:
    """`name=number,name=number` as a dict; what is no text passes unchanged. Raises ValueError."""
    if not isinstance(value, str):
        return value
    # The last sign divides: a session's name may hold one.
    pairs = [part.strip().rpartition("=") for part in value.split(",") if part.strip()]
    if not all(name.strip() and number.strip() for name, _, number in pairs):
        raise ValueError("must be sessions with their weights: vip=4,test=0.5")
    return {name.strip(): number.strip() for name, _, number in pairs}


def as_rates(value: Any) -> Any:
    """`host=20/s,*.host=5/s,*=100/m` as files a second by name or pattern. Raises ValueError."""
    if not isinstance(value, str):
        return value
    found: dict[str, float] = {}
    for part in (part.strip().lower() for part in value.split(",") if part.strip()):
        rate = _RATE.fullmatch(part)
        if not rate or not float(rate["n"]):
            raise ValueError(f"{part!r} is no rate of a host: use mmg.whatsapp.net=20/s,*.example.com=5/s,*=100/m")
        if rate["host"] in found:
            raise ValueError(f"{rate['host']} has two rates")
        found[rate["host"]] = float(rate["n"]) / _SECONDS[rate["unit"]]
    return found


def is_redis_url(url: str) -> bool:
    try:
        parts = urlsplit(url)
        return parts.scheme in {"redis", "rediss", "unix"} and (parts.port is None or parts.port > 0)
    except ValueError:  # a port that is no number
        return False


def clamd_place(address: str) -> str | tuple[str, int]:
    """The path of a unix socket, or host and port, of `unix:///path` or `tcp://host:port`. Raises ValueError."""
    try:
        parts = urlsplit(address)
        host, port = parts.hostname, parts.port
    except ValueError:
        host = port = None
        parts = urlsplit("")
    if parts.scheme == "unix" and not parts.netloc and len(parts.path) > 1 and not (parts.query or parts.fragment):
        return parts.path
    alone = not (parts.path.strip("/") or parts.query or parts.fragment or "@" in parts.netloc)
    if parts.scheme == "tcp" and host and port != 0 and alone:
        return host, port or CLAMD_PORT
    raise ValueError("must be unix:///run/clamav/clamd.ctl or tcp://host:3310")


def is_sentry_dsn(url: str) -> bool:
    try:
        parts = urlsplit(url)
        place = parts.scheme in {"http", "https"} and parts.hostname and (parts.port is None or parts.port > 0)
        return bool(place and parts.username and parts.path.rpartition("/")[2].isdecimal())
    except ValueError:
        return False


def password_in(url: str) -> str | None:
    """The password that a URL carries, or None; also of what is no URL."""
    try:
        return urlsplit(url).password
    except ValueError:
        return None


def is_web_url(url: str) -> bool:
    """Whether it names a server on the web and at most a path there."""
    try:
        parts = urlsplit(url)
        server = parts.scheme in {"http", "https"} and parts.hostname and (parts.port is None or parts.port > 0)
    except ValueError:
        return False
    # As text, for urlsplit forgives line breaks, and sees no difference between an empty query and none.
    return bool(server and not _NO_WEB_URL.search(url))


def is_header_value(text: str) -> bool:
    """Whether it can be sent in a header as it is: a line break at its end is the usual fault."""
    return text.isascii() and text.isprintable() and text == text.strip()


def without_secrets(text: str) -> str:
    """Text that may be a URL, without a login and without a query."""
    return _QUERY.sub("?[hidden]", _LOGIN.sub("//[hidden]@", text))


def secret_pairs(text: str) -> dict[str, str] | None:
    """`name=secret,name=secret` as a dict, or None if it is anything else."""
    pairs = [part.strip().partition("=") for part in text.split(",") if part.strip()]
    found = {name.strip(): secret.strip() for name, _, secret in pairs}
    return found if found and all(found) and all(found.values()) else None
