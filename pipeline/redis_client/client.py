"""The client for threads: gives up after a timeout, and asks where its server is for each new connection."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import redis
from redis.backoff import NoBackoff
from redis.connection import Connection, SSLConnection, parse_url
from redis.exceptions import NoPermissionError
from redis.retry import Retry

from pipeline.config.redis_urls import Node, RedisUrl, parse_redis_url
from pipeline.redis_client.locators import Locator, NodeLocator, SentinelLocator
from pipeline.redis_client.redirects import RedirectingRetry


class _Located:
    """A connection to the server that its locator names when it connects."""

    def __init__(self, *, locator: Locator, **options: Any) -> None:
        self._locator = locator
        super().__init__(**options)

    def _connect(self) -> Any:
        node = self._locator.locate()
        self.host, self.port = node
        try:
            return super()._connect()  # type: ignore[misc]
        except OSError:
            self._locator.failed(node)
            raise

    def on_connect_check_health(self, check_health: bool = True) -> None:
        super().on_connect_check_health(check_health)  # type: ignore[misc]
        if self._locator.needs_primary:
            self._check_role()

    def _check_role(self) -> None:
        # Sentinels may name the old primary for a moment, and a replica answers what only reads without an error.
        self.send_command("ROLE", check_health=False)  # type: ignore[attr-defined]
        try:
            role = self.read_response()[0]  # type: ignore[attr-defined]
        except NoPermissionError:  # the login may not ask; a replica then refuses the first write
            return
        self._locator.require_primary(role, Node(self.host, self.port))


class LocatedConnection(_Located, Connection):
    """A connection without encryption."""


class LocatedTlsConnection(_Located, SSLConnection):
    """A connection with TLS."""


def connect(url: str, *, timeout_s: float) -> redis.Redis:
    """A client that gives up after `timeout_s` and never repeats a command that may have been executed.

    With sentinels, a new connection may take as long again to ask them.

    Raises:
        ValueError: it is not a URL of Redis.
    """
    parts = parse_redis_url(url)
    timeouts = {"socket_timeout": timeout_s, "socket_connect_timeout": timeout_s, "health_check_interval": 0}
    if parts.kind == "unix":
        return redis.Redis.from_url(parts.client_url, retry=Retry(NoBackoff(), 0), **timeouts)
    locator = make_locator(parts, timeout_s=timeout_s)
    client = redis.Redis.from_url(
        parts.client_url,
        connection_class=LocatedTlsConnection if parts.tls else LocatedConnection,
        locator=locator,
        retry=RedirectingRetry(locator),
        **timeouts,
    )
    locator.on_move(partial(client.connection_pool.disconnect, inuse_connections=False))
    return client


def make_locator(url: RedisUrl, *, timeout_s: float) -> Locator:
    """The locator for a URL that is not that of a unix socket."""
    if url.kind == "sentinel":
        return SentinelLocator(url, sentinel_connections(url), timeout_s=timeout_s)
    return NodeLocator(url.nodes)


def sentinel_connections(url: RedisUrl) -> Callable[[Node, float], Any]:
    """Makes connections to sentinels, with the same options of TLS as those to the servers."""
    options = parse_url(url.client_url)  # type: ignore[no-untyped-call]
    tls = {name: value for name, value in options.items() if name.startswith("ssl_")}
    connection_class = options.get("connection_class", Connection)

    def make(sentinel: Node, timeout_s: float) -> Any:
        return connection_class(
            host=sentinel.host,
            port=sentinel.port,
            username=url.sentinel_login.username,
            password=url.sentinel_login.password,
            socket_timeout=timeout_s,
            socket_connect_timeout=timeout_s,
            retry=Retry(NoBackoff(), 0),
            **tls,
        )

    return make
