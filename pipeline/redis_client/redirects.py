"""What a client does when a server refuses a command because another server, or another connection, has to take it.

Nothing was executed then, so the command is sent once more, on a new connection.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

import redis
from redis.backoff import NoBackoff
from redis.exceptions import ClusterDownError, MovedError, ReadOnlyError
from redis.retry import Retry

from pipeline.redis_client.locators import Locator

# The slot is on another node; this node has lost its cluster; this server is a replica since a failover.
REDIRECTS = (MovedError, ClusterDownError, ReadOnlyError)

T = TypeVar("T")


class RedirectingRetry(Retry):
    """Sends a command once more after a redirect. What a lost connection interrupts is never repeated."""

    def __init__(self, locator: Locator) -> None:
        super().__init__(NoBackoff(), 0)
        self.locator = locator

    def __deepcopy__(self, _memo: dict[int, Any]) -> RedirectingRetry:
        """Each connection copies its retry, and all connections of a client share the locator."""
        return self

    def call_with_retry(
        self,
        do: Callable[[], T],
        fail: Callable[..., Any],
        is_retryable: Callable[[Exception], bool] | None = None,
        with_failure_count: bool = False,
    ) -> T:
        try:
            return super().call_with_retry(do, fail, is_retryable, with_failure_count)
        except REDIRECTS as error:
            self.locator.redirect(error)
            fail(error, 1) if with_failure_count else fail(error)  # disconnects; the next command connects again
            return super().call_with_retry(do, fail, is_retryable, with_failure_count)


def follow(client: redis.Redis, error: Exception) -> bool:
    """Directs new connections of a client to the server that a redirect names; False if it uses a unix socket."""
    locator = _locator_of(client)
    if locator is None:
        return False
    locator.redirect(error)
    client.connection_pool.disconnect(inuse_connections=False)
    return True


def on_move(client: redis.Redis, listener: Callable[[], object]) -> None:
    """Calls `listener` whenever a client connects to another server than before, which may lack the last writes.

    It is called in the thread that connects, and must return at once.
    """
    if locator := _locator_of(client):
        locator.on_move(listener)


def _locator_of(client: redis.Redis) -> Locator | None:
    retry = client.connection_pool.connection_kwargs.get("retry")
    return retry.locator if isinstance(retry, RedirectingRetry) else None
