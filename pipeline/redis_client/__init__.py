"""Clients of Redis that find their server: behind sentinels, on the node of a cluster that has the queue, or fixed."""

from __future__ import annotations

from pipeline.redis_client.client import connect, sentinel_connections
from pipeline.redis_client.redirects import REDIRECTS, follow, on_move

__all__ = ["REDIRECTS", "connect", "follow", "on_move", "sentinel_connections"]
