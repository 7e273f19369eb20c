"""URLs of Redis: one server, the servers that sentinels watch, or the nodes of a cluster."""

from __future__ import annotations

import ipaddress
import re
from typing import Literal, NamedTuple
from urllib.parse import parse_qsl, unquote, urlencode, urlsplit

REDIS_PORT = 6379
SENTINEL_PORT = 26379
SINGLE_SCHEMES = ("redis", "rediss")
FORMS = (
    "must be redis://, rediss:// or unix://, such as redis://:password@host:6379/0, "
    "redis+sentinel://host:26379,host:26379/service/0 or redis+cluster://host:6379,host:6379"
)
_NODE = re.compile(r"(?:\[(?P<v6>[0-9A-Fa-f:.]+)\]|(?P<host>[^\s:\[\]/@,]+))(?::(?P<port>[0-9]{1,5}))?")
_PARTS = re.compile(r"(?:(?P<login>[^/?#]*)@)?(?P<nodes>[^@/?#]*)(?P<path>/[^?#]*)?(?:\?(?P<query>[^#]*))?", re.S)

Kind = Literal["single", "unix", "sentinel", "cluster"]


class Node(NamedTuple):
    """The address of a server or of a sentinel."""

    host: str
    port: int

    def __str__(self) -> str:
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"


class Login(NamedTuple):
    """The user and the password of the sentinels, which differ from those of the servers."""

    username: str | None = None
    password: str | None = None


class RedisUrl(NamedTuple):
    """The parts of a URL of Redis.

    `nodes` are the sentinels, the nodes of a cluster that are asked first, or the one server; empty for a unix socket.
    `client_url` is a URL as redis-py reads it, with login, database and options; its host is the first node.
    """

    kind: Kind
    nodes: tuple[Node, ...]
    client_url: str
    service: str = ""
    sentinel_login: Login = Login()

    @property
    def tls(self) -> bool:
        return self.client_url.startswith("rediss:")

    def __str__(self) -> str:
        """What a person may read: the addresses without logins."""
        if self.kind == "unix":
            return unquote(urlsplit(self.client_url).path)
        names = ", ".join(map(str, self.nodes))
        return f"{self.service} (sentinels {names})" if self.kind == "sentinel" else names


def parse_redis_url(url: str) -> RedisUrl:
    """The parts of a URL.

    Raises:
        ValueError: it is not a URL of Redis. The message does not repeat the URL.
    """
    scheme, _, rest = url.partition("://")
    scheme = scheme.lower()
    if scheme == "unix":
        return RedisUrl("unix", (), f"unix://{rest}")
    base, _, kind = scheme.partition("+")
    if base not in SINGLE_SCHEMES:
        raise ValueError(FORMS)
    match kind:
        case "":
            return _single(f"{base}://{rest}")
        case "sentinel":
            return _sentinel(base, rest)
        case "cluster":
            return _cluster(base, rest)
    raise ValueError(FORMS)


def redis_url_secrets(url: str) -> list[str]:
    """What must not be read by anyone: the URL, and the passwords in it as they are written and as they are sent."""
    login = (_PARTS.fullmatch(url.partition("://")[2]) or {"login": ""})["login"] or ""
    written = login.partition(":")[2]
    options = [value for name, value in parse_qsl(url.partition("?")[2]) if name.endswith("password")]
    return [url, *(secret for secret in (written, unquote(written), *options) if secret)]


def is_host(text: str) -> bool:
    """Whether the text is one host name or address, without a port."""
    match = _NODE.fullmatch(f"[{text}]" if ":" in text else text)
    return bool(match and not match["port"] and (":" not in text or _is_ipv6(text)))


def _is_ipv6(text: str) -> bool:
    try:
        ipaddress.IPv6Address(text)
    except ValueError:
        return False
    return True


def _single(url: str) -> RedisUrl:
    if "," in re.split("[/?#]", url.partition("://")[2])[0].rpartition("@")[2]:
        raise ValueError("names several hosts: use redis+sentinel:// for sentinels, or redis+cluster:// for a cluster")
    try:
        parts = urlsplit(url)
        host, port = parts.hostname, parts.port
    except ValueError:  # the port is not a number
        raise ValueError(FORMS) from None
    if port == 0:
        raise ValueError(FORMS)
    return RedisUrl("single", (Node(unquote(host or "localhost"), port or REDIS_PORT),), url)


def _sentinel(base: str, rest: str) -> RedisUrl:
    parts = _split(rest)
    nodes = _nodes(parts["nodes"], SENTINEL_PORT)
    service, _, database = parts["path"].strip("/").partition("/")
    if not service:
        raise ValueError("names no service: write it after the sentinels, as in redis+sentinel://host:26379/mymaster/0")
    options = dict(parse_qsl(parts["query"], keep_blank_values=True))
    login = Login(options.pop("sentinel_username", None) or None, options.pop("sentinel_password", None) or None)
    client_url = _client_url(base, parts["login"], nodes[0], _database(database), options)
    return RedisUrl("sentinel", nodes, client_url, unquote(service), login)


def _cluster(base: str, rest: str) -> RedisUrl:
    parts = _split(rest)
    nodes = _nodes(parts["nodes"], REDIS_PORT)
    options = dict(parse_qsl(parts["query"], keep_blank_values=True))
    database = _database(parts["path"].strip("/"))
    return RedisUrl("cluster", nodes, _client_url(base, parts["login"], nodes[0], database, options))


def _split(rest: str) -> dict[str, str]:
    match = _PARTS.fullmatch(rest)
    if match is None:
        raise ValueError("has a part that cannot be read: encode / ? # and @ of a password as %2F %3F %23 and %40")
    return match.groupdict("")


def _nodes(text: str, default_port: int) -> tuple[Node, ...]:
    nodes = []
    for number, part in enumerate(text.split(","), 1):
        match = _NODE.fullmatch(part.strip())
        port = int(match["port"] or default_port) if match else 0
        if match is None or not 0 < port < 65536:
            raise ValueError(f"has no host and port as its address number {number}: use host:port,host:port")
        nodes.append(Node(match["v6"] or match["host"], port))
    return tuple(nodes)


def _database(text: str) -> str:
    if text and not (text.isascii() and text.isdecimal()):
        raise ValueError("has a database that is not a number: use 0, 1, …")
    return text or "0"


def _client_url(base: str, login: str, node: Node, database: str, options: dict[str, str]) -> str:
    query = f"?{urlencode(options)}" if options else ""
    return f"{base}://{login}{'@' if login else ''}{node}/{database}{query}"
