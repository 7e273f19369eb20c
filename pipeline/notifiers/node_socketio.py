"""Tells the clients of a Node server that has Socket.IO with @socket.io/redis-adapter: an event is published as another
of its servers would publish it, so nothing has to be changed there.
"""

from __future__ import annotations

from collections.abc import Sequence

import msgpack

from pipeline.config.settings import Settings
from pipeline.http_client import HttpClient
from pipeline.models import Outcome
from pipeline.notifiers.redis_publisher import BufferedRedisPublisher, Client

EVENT = 2  # a packet's type in Socket.IO's protocol
SENDER = "esteira"  # the adapter ignores what has its own name


def build(settings: Settings, _outbound: HttpClient) -> BufferedRedisPublisher | None:
    """The Node server's channel, or None unless NOTIFY_NODE_SOCKETIO is set."""
    if not settings.notify_node_socketio:
        return None
    own = settings.node_socketio_redis_url
    url = own.get_secret_value() if own else settings.redis
    key, namespace = settings.node_socketio_key, settings.node_socketio_namespace
    publish = NodePublisher(key, namespace, by_session=settings.node_socketio_room == "session")
    return BufferedRedisPublisher(url, publish, channel="node", max_waiting=max(1, settings.event_history))


class NodePublisher:
    """Events in one round trip, each to the room that is named like its session, or to the whole namespace."""

    def __init__(self, key: str, namespace: str, *, by_session: bool) -> None:
        self._key = key
        self._namespace = namespace
        self._by_session = by_session

    def __call__(self, client: Client, told: Sequence[Outcome]) -> None:
        pipe = client.pipeline(transaction=False)
        for one in told:
            pipe.publish(*self.message(one))
        pipe.execute()

    def message(self, told: Outcome) -> tuple[str, bytes]:
        """The channel, and what is published there."""
        rooms = [told.session] if self._by_session else []
        channel = f"{self._key}#{self._namespace}#" + (f"{told.session}#" if rooms else "")
        packet = {"type": EVENT, "data": [told.type, told.payload()], "nsp": self._namespace}
        options = {"rooms": rooms, "flags": {}, "except": []}
        return channel, msgpack.packb([SENDER, packet, options])
