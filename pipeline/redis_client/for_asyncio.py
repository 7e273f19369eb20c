"""The client for asyncio. It finds its server as the client for threads does."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any, TypeVar

import redis
import redis.asyncio
from redis.asyncio.connection import Connection, SSLConnection
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff
from redis.exceptions import NoPermissionError

from pipeline.config.redis_urls import Node, parse_redis_url
from pipeline.redis_client.client import make_locator
from pipeline.redis_client.locators import Locator
from pipeline.redis_client.redirects import REDIRECTS

T = TypeVar("T")


class _Retry(Retry):
    """Sends a command once more after a redirect, on a new connection."""

    def __init__(self, locator: Locator) -> None:
        super().__init__(NoBackoff(), 0)
        self._locator = locator

    def __deepcopy__(self, _memo: dict[int, Any]) -> _Retry:
        return self

    async def call_with_retry(
        self,
        do: Callable[[], Awaitable[T]],
        fail: Callable[..., Any],
        is_retryable: Callable[[Exception], bool] | None = None,
        with_failure_count: bool = False,
    ) -> T:
        try:
            return await super().call_with_retry(do, fail, is_retryable, with_failure_count)
        except REDIRECTS as error:
            self._locator.redirect(error)
            await (fail(error, 1) if with_failure_count else fail(error))
            return await super().call_with_retry(do, fail, is_retryable, with_failure_count)


class _Located:
    """A connection to the server that its locator names when it connects."""

    def __init__(self, *, locator: Locator, **options: Any) -> None:
        self._locator = locator
        super().__init__(**options)

    async def _connect(self) -> None:
        node = await asyncio.to_thread(self._locator.locate)  # it may ask sentinels
        self.host, self.port = node
        try:
            await super()._connect()  # type: ignore[misc]
        except (OSError, TimeoutError):
            self._locator.failed(node)
            raise

    async def on_connect_check_health(self, check_health: bool = True) -> None:
        await super().on_connect_check_health(check_health)  # type: ignore[misc]
        if not self._locator.needs_primary:
            return
        await self.send_command("ROLE", check_health=False)  # type: ignore[attr-defined]
        try:
            role = (await self.read_response())[0]  # type: ignore[attr-defined]
        except NoPermissionError:
            return
        self._locator.require_primary(role, Node(self.host, self.port))


class LocatedConnection(_Located, Connection):
    """A connection without encryption."""


class LocatedTlsConnection(_Located, SSLConnection):
    """A connection with TLS."""


def connect_async(url: str, *, timeout_s: float) -> Any:
    """As `connect`, for asyncio: a `redis.asyncio.Redis`.

    Raises:
        ValueError: it is not a URL of Redis.
    """
    parts = parse_redis_url(url)
    timeouts: dict[str, Any] = {"socket_timeout": timeout_s, "socket_connect_timeout": timeout_s}
    if parts.kind == "unix":
        return redis.asyncio.Redis.from_url(parts.client_url, retry=Retry(NoBackoff(), 0), **timeouts)
    locator = make_locator(parts, timeout_s=timeout_s)
    return redis.asyncio.Redis.from_url(
        parts.client_url,
        connection_class=LocatedTlsConnection if parts.tls else LocatedConnection,
        locator=locator,
        retry=_Retry(locator),
        **timeouts,
    )
