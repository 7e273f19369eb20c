"""Parsers for the text forms of settings: networks, hosts, rates, URLs and lists of secrets."""

from __future__ import annotations

import base64
import ipaddress
import re
from collections.abc import Callable, Iterable
from typing import Any, NamedTuple
from urllib.parse import urlsplit

CLAMD_PORT = 3310
FERNET_KEY_BYTES = 32

_LABEL = r"[a-z0-9]([a-z0-9_-]{0,61}[a-z0-9])?"
_HOST = re.compile(rf"{_LABEL}(\.{_LABEL})*(:[0-9]{{1,5}})?")
_HOST_PATTERN = re.compile(rf"\*(\.{_LABEL})*")
_RATE = re.compile(
    rf"(?P<host>\*|(\*\.)?{_LABEL}(\.{_LABEL})*)\s*=\s*(?P<n>[0-9]{{1,6}}(\.[0-9]{{1,3}})?)/(?P<unit>[smh])"
)
_SECONDS = {"s": 1, "m": 60, "h": 3600}
_FERNET_KEY = re.compile(r"[A-Za-z0-9_-]{43}=")
_NO_WEB_URL = re.compile(r"[\x00-\x20\x7f@?#\\]")
_CONTACT = re.compile(r"mailto:[!-?A-~]{1,64}@[A-Za-z0-9.-]{1,253}|tel:[+0-9-]{3,32}")  # no `@` before the last one
_LOGIN = re.compile(r"//[^/\s]*@")
_QUERY = re.compile(r"\?.*", re.DOTALL)


def as_network(value: Any) -> Any:
    """Parses a network; values other than text are unchanged. Raises ValueError."""
    if not isinstance(value, str):
        return value
    try:
        return ipaddress.ip_network(value)
    except ValueError as error:
        fault = str(error) if "host bits" in str(error) else "is not a network"
        raise ValueError(f"{value!r} {fault.removeprefix(value).strip()}: use 10.1.2.0/24 or fd00::/8") from None


def as_host(value: Any) -> Any:
    """A host name in lower case, with or without a port, or a pattern of names. Raises ValueError."""
    if isinstance(value, str) and not (_HOST.fullmatch(value.lower()) or _HOST_PATTERN.fullmatch(value.lower())):
        raise ValueError(f"{value!r} is not a host name: use mmg.whatsapp.net, or *.whatsapp.net for all names below")
    return value.lower() if isinstance(value, str) else value


def as_origin(value: Any) -> Any:
    """Checks an origin as browsers send it; values other than text are unchanged. Raises ValueError."""
    if isinstance(value, str) and not (is_web_url(value) and value.count("/") == 2 and value == value.lower()):
        raise ValueError(f"{value!r} is not an origin of web pages: use https://app.example.com, without a path")
    return value


def as_public_url(value: Any) -> Any:
    """The address of a web app, without a slash at its end; values other than text are unchanged. Raises ValueError."""
    if not isinstance(value, str):
        return value
    if not is_web_url(value):
        raise ValueError("is not the address of a web app: use https://media.example.com, with a path if it has one")
    return value.rstrip("/")


def as_contact(value: Any) -> Any:
    """Checks a contact of security.txt; values other than text are unchanged. Raises ValueError."""
    if isinstance(value, str) and not (_CONTACT.fullmatch(value) or _is_https(value)):
        raise ValueError(f"{value!r} is not a contact: use mailto:security@example.com or https://example.com/security")
    return value


def as_policy(value: Any) -> Any:
    """Checks the URL of a policy; values other than text are unchanged. Raises ValueError."""
    if isinstance(value, str) and not _is_https(value):
        raise ValueError(f"{value!r} is not a page: use https://example.com/security")
    return value


def _is_https(text: str) -> bool:
    return text.startswith("https://") and is_web_url(text)


def as_weights(value: Any) -> Any:
    """Parses `name=number,name=number`; values other than text are unchanged. Raises ValueError."""
    if not isinstance(value, str):
        return value
    # Split at the last `=`: the name of a session may contain one.
    pairs = [part.strip().rpartition("=") for part in value.split(",") if part.strip()]
    if not all(name.strip() and number.strip() for name, _, number in pairs):
        raise ValueError("must be sessions and their weights: vip=4,test=0.5")
    return {name.strip(): number.strip() for name, _, number in pairs}


def as_rates(value: Any) -> Any:
    """Parses `host=20/s,*.host=5/s,*=100/m` into files per second by host or pattern. Raises ValueError."""
    if not isinstance(value, str):
        return value
    rates: dict[str, float] = {}
    for part in (part.strip().lower() for part in value.split(",") if part.strip()):
        rate = _RATE.fullmatch(part)
        if not rate or not float(rate["n"]):
            raise ValueError(f"{part!r} is not a rate of a host: use mmg.whatsapp.net=20/s,*.example.com=5/s,*=100/m")
        if rate["host"] in rates:
            raise ValueError(f"{rate['host']} has two rates")
        rates[rate["host"]] = float(rate["n"]) / _SECONDS[rate["unit"]]
    return rates


def parse_clamd_address(address: str) -> str | tuple[str, int]:
    """The socket path of `unix:///path`, or host and port of `tcp://host:port`. Raises ValueError."""
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
        server = parts.scheme in {"http", "https"} and parts.hostname and (parts.port is None or parts.port > 0)
        return bool(server and parts.username and parts.path.rpartition("/")[2].isdecimal())
    except ValueError:
        return False


def password_in(url: str) -> str | None:
    """The password in a URL; None without one, and for text that is not a URL."""
    try:
        return urlsplit(url).password
    except ValueError:
        return None


def is_web_url(url: str) -> bool:
    """Whether the text is an http or https URL without a user, query or fragment."""
    try:
        parts = urlsplit(url)
        server = parts.scheme in {"http", "https"} and parts.hostname and (parts.port is None or parts.port > 0)
    except ValueError:
        return False
    # Checked in the text, because urlsplit removes line breaks and does not distinguish an empty query from none.
    return bool(server and not _NO_WEB_URL.search(url))


def is_header_value(text: str) -> bool:
    """Whether the text can be sent as a header; a common mistake is a line break at its end."""
    return text.isascii() and text.isprintable() and text == text.strip()


def is_login(text: str) -> bool:
    """Whether the text is `user:password`, as HTTP's basic authentication sends it."""
    user, _, password = text.partition(":")
    return bool(user and password) and text.isprintable() and text == text.strip()


def without_secrets(text: str) -> str:
    """The text with the login and the query of any URL in it hidden."""
    return _QUERY.sub("?[hidden]", _LOGIN.sub("//[hidden]@", text))


def secret_pairs(text: str) -> dict[str, str] | None:
    """Parses `name=secret,name=secret`; None for another text."""
    pairs = [part.strip().partition("=") for part in text.split(",") if part.strip()]
    secrets = {name.strip(): secret.strip() for name, _, secret in pairs}
    return secrets if secrets and all(secrets) and all(secrets.values()) else None


def fernet_keys(text: str) -> list[str]:
    """The keys of ENCRYPTION_KEYS, in order. Raises ValueError; the message does not repeat a key."""
    keys = [part.strip() for part in text.split(",") if part.strip()]
    for number, key in enumerate(keys, 1):
        if not _is_fernet_key(key):
            raise ValueError(
                f"key {number} of {len(keys)} is not 32 bytes in URL-safe base64: make one with "
                "`openssl rand -base64 32 | tr '+/' '-_'`"
            )
    if len(set(keys)) < len(keys):
        raise ValueError("has the same key twice")
    return keys


def _is_fernet_key(key: str) -> bool:
    return _FERNET_KEY.fullmatch(key) is not None and len(base64.urlsafe_b64decode(key)) == FERNET_KEY_BYTES


class SecretParts(NamedTuple):
    """Marks a SecretStr field whose value holds several secrets, or more than secrets.

    `of` returns the texts that must reach no log. Without this mark, the whole value is the secret.
    """

    of: Callable[[str], Iterable[str]]
