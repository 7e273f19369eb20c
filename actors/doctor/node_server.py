"""The Redis through which a Node server's Socket.IO clients are told, where NOTIFY_NODE_SOCKETIO asks for it."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any
from urllib.parse import urlsplit

import redis

from actors.doctor.finding import Finding, fail, ok, warn
from actors.redis_queue.queue import connect
from pipeline.config.settings import Settings

TIMEOUT_S = 3.0
NAME = "node server"


def run_checks(settings: Settings) -> Iterator[Finding]:
    """One finding, or none where no Node server is told."""
    if not settings.notify_node_socketio:
        return
    own = settings.node_socketio_redis_url
    url = own.get_secret_value() if own else settings.redis
    place = urlsplit(url).hostname or urlsplit(url).path
    client = connect(url, timeout_s=TIMEOUT_S)
    try:
        patterns: Any = client.pubsub_numpat()
    except redis.RedisError as error:
        remedy = "check NODE_SOCKETIO_REDIS_URL: it is the Redis that the Node server's adapter uses"
        yield fail(NAME, f"{place} does not take events ({type(error).__name__})", remedy)
        return
    finally:
        client.close()
    if patterns:
        yield ok(NAME, f"{place} has listeners")
    else:
        yield warn(
            NAME, f"nobody listens at {place}", "start the Node server with @socket.io/redis-adapter on that Redis"
        )
