"""Sends results to the Socket.IO clients of a Node server that uses @socket.io/redis-adapter.

Events are published in the format of the adapter, as if another server of the cluster had sent them. Nothing has to be
changed in the Node server.
"""

from __future__ import annotations

from collections.abc import Sequence
from importlib import import_module

from pipeline.config.settings import Settings
from pipeline.http_client import HttpClient
from pipeline.models import Outcome
from pipeline.notifiers.redis_publisher import BufferedRedisPublisher, Client

EVENT = 2  # the packet type of an event in Socket.IO's protocol
SENDER = "esteira"  # an adapter ignores messages with its own id


def build(settings: Settings, _http_client: HttpClient) -> BufferedRedisPublisher | None:
    """A publisher to the Node server's Redis; None unless NOTIFY_NODE_SOCKETIO is set."""
    if not settings.notify_node_socketio:
        return None
    own = settings.node_socketio_redis_url
    url = own.get_secret_value() if own else settings.redis
    key, namespace = settings.node_socketio_key, settings.node_socketio_namespace
    publish = NodePublisher(key, namespace, by_session=settings.node_socketio_room == "session")
    return BufferedRedisPublisher(url, publish, channel="node", max_waiting=max(1, settings.event_history))


class NodePublisher:
    """Publishes events in one round trip, each to the room named after its session, or to the whole namespace."""

    def __init__(self, key: str, namespace: str, *, by_session: bool) -> None:
        self._key = key
        self._namespace = namespace
        self._by_session = by_session

    def __call__(self, client: Client, outcomes: Sequence[Outcome]) -> None:
        pipe = client.pipeline(transaction=False)
        for outcome in outcomes:
            pipe.publish(*self.message(outcome))
        pipe.execute()

    def message(self, outcome: Outcome) -> tuple[str, bytes]:
        """The channel, and the message to publish on it."""
        rooms = [outcome.session] if self._by_session else []
        channel = f"{self._key}#{self._namespace}#" + (f"{outcome.session}#" if rooms else "")
        packet = {"type": EVENT, "data": [outcome.type, outcome.payload()], "nsp": self._namespace}
        options = {"rooms": rooms, "flags": {}, "except": []}
        packed: bytes = import_module("msgpack").packb([SENDER, packet, options])
        return channel, packed
