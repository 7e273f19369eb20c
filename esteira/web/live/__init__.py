"""Live events for Socket.IO clients: events are read from Redis and sent to the clients that may see them."""

from esteira.web.live.server import LiveEvents

__all__ = ["LiveEvents"]
