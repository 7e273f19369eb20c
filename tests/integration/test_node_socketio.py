"""Results reach the Socket.IO clients of a Node server that uses @socket.io/redis-adapter."""

from __future__ import annotations

import time
from collections.abc import Callable

from pipeline.http_client import HttpClient
from pipeline.notifiers import node_socketio
from pipeline.notifiers.redis_publisher import BufferedRedisPublisher
from tests.support.events import outcome
from tests.support.node import clients, node_server
from tests.support.system import RunningSystem
from tests.support.valkey import ValkeyServer

ROOMS = [{"room": "shop"}, {"room": "other"}, {}]


def publisher(system: RunningSystem) -> BufferedRedisPublisher:
    built = node_socketio.build(system.settings, HttpClient())
    assert built
    return built


def test_event_reaches_the_room_of_its_session_with_its_payload(
    make_system: Callable[..., RunningSystem], valkey: ValkeyServer
) -> None:
    publish = publisher(make_system(notify_node_socketio="true"))
    done, failed = outcome(session="shop", caption="olá 🎧", size=5), outcome(session="other", kind="media.failed")
    with node_server(valkey.url) as url, clients(url, ROOMS, whole=True) as listening:
        listening.wait("connect", 3)
        publish.publish_all([done, failed])
        listening.wait("event", 2)
        time.sleep(0.3)
        received = [[(sent["name"], sent["payload"]) for sent in listening.what("event", n)] for n in range(3)]
    assert received == [[("media.done", done.payload())], [("media.failed", failed.payload())], []]


def test_event_reaches_all_clients_of_another_namespace_key_and_redis(
    make_system: Callable[..., RunningSystem], own_valkey: ValkeyServer
) -> None:
    settings = {"node_socketio_room": "all", "node_socketio_namespace": "/media", "node_socketio_key": "theirs"}
    publish = publisher(make_system(notify_node_socketio="true", node_socketio_redis_url=own_valkey.url, **settings))
    event = outcome(session="s#1")
    with (
        node_server(own_valkey.url, namespace="/media", key="theirs") as url,
        clients(f"{url}/media", ROOMS) as listening,
        clients(url, [{}]) as elsewhere,
    ):
        listening.wait("connect", 3)
        elsewhere.wait("connect")
        publish(event)
        listening.wait("event", 3)
        assert not elsewhere.what("event")
        assert [listening.ids(client) for client in range(3)] == [[event.event_id]] * 3


def test_worker_notifies_the_node_server_and_our_own_clients(
    make_system: Callable[..., RunningSystem], valkey: ValkeyServer
) -> None:
    system = make_system(notify_node_socketio="true")
    with node_server(valkey.url) as url, clients(url, [{"room": "s1"}], whole=True) as listening, system.workers():
        listening.wait("connect")
        receipt = system.submit(data="AAAA", kind="image")
        [event] = listening.wait("event")
    assert (event["payload"]["id"], event["name"]) == (receipt.id, "media.rejected")
    assert system.queue.client.xlen("{esteira}:events") == 1


def test_node_notifier_is_off_by_default(system: RunningSystem) -> None:
    assert node_socketio.build(system.settings, HttpClient()) is None
