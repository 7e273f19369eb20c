"""Endings as they happen, for Socket.IO clients: at the door, from Redis, to those who may hear of them."""

from esteira.web.live.server import Live

__all__ = ["Live"]
