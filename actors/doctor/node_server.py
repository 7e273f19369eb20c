"""Check of the Redis that a Node server's Socket.IO adapter uses."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import redis

from actors.doctor.finding import Finding, fail, ok, warn
from pipeline.config.redis_urls import parse_redis_url
from pipeline.config.settings import Settings
from pipeline.redis_client import connect

TIMEOUT_S = 3.0
NAME = "node server"


def run_checks(settings: Settings) -> Iterator[Finding]:
    """One finding if NOTIFY_NODE_SOCKETIO is set, otherwise none."""
    if not settings.notify_node_socketio:
        return
    own = settings.node_socketio_redis_url
    url = own.get_secret_value() if own else settings.redis
    parts = parse_redis_url(url)
    host = str(parts) if parts.kind != "single" else parts.nodes[0].host
    client = connect(url, timeout_s=TIMEOUT_S)
    try:
        patterns: Any = client.pubsub_numpat()
    except redis.RedisError as error:
        remedy = "set NODE_SOCKETIO_REDIS_URL to the Redis that the Node server's adapter uses"
        yield fail(NAME, f"{host} does not answer ({type(error).__name__})", remedy)
        return
    finally:
        client.close()
    if patterns:
        yield ok(NAME, f"a Socket.IO adapter is subscribed at {host}")
    else:
        remedy = "start the Node server with @socket.io/redis-adapter on that Redis"
        yield warn(NAME, f"no Socket.IO adapter is subscribed at {host}", remedy)
