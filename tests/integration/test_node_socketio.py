"""Endings reach the clients of a Node server that has Socket.IO with @socket.io/redis-adapter."""

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


def teller(system: RunningSystem) -> BufferedRedisPublisher:
    tell = node_socketio.build(system.settings, HttpClient())
    assert tell
    return tell


def test_an_event_reaches_the_room_of_its_session_with_its_whole_payload(
    make_system: Callable[..., RunningSystem], valkey: ValkeyServer
) -> None:
    tell = teller(make_system(notify_node_socketio="true"))
    one, two = outcome(session="shop", caption="olá 🎧", size=5), outcome(session="other", kind="media.failed")
    with node_server(valkey.url) as url, clients(url, ROOMS, whole=True) as listening:
        listening.wait("connect", 3)
        tell.publish_all([one, two])
        listening.wait("event", 2)
        time.sleep(0.3)
        heard = [[(told["name"], told["payload"]) for told in listening.what("event", client)] for client in range(3)]
    assert heard == [[("media.done", one.payload())], [("media.failed", two.payload())], []]


def test_all_may_be_told_under_another_namespace_and_key_and_on_another_redis(
    make_system: Callable[..., RunningSystem], own_valkey: ValkeyServer
) -> None:
    given = {"node_socketio_room": "all", "node_socketio_namespace": "/media", "node_socketio_key": "theirs"}
    tell = teller(make_system(notify_node_socketio="true", node_socketio_redis_url=own_valkey.url, **given))
    told = outcome(session="s#1")
    with (
        node_server(own_valkey.url, namespace="/media", key="theirs") as url,
        clients(f"{url}/media", ROOMS) as listening,
        clients(url, [{}]) as elsewhere,
    ):
        listening.wait("connect", 3)
        elsewhere.wait("connect")
        tell(told)
        listening.wait("event", 3)
        assert not elsewhere.what("event")
        assert [listening.ids(client) for client in range(3)] == [[told.event_id]] * 3


def test_a_worker_tells_both_the_node_server_and_our_own_clients(
    make_system: Callable[..., RunningSystem], valkey: ValkeyServer
) -> None:
    system = make_system(notify_node_socketio="true")
    with node_server(valkey.url) as url, clients(url, [{"room": "s1"}], whole=True) as listening, system.workers():
        listening.wait("connect")
        receipt = system.submit(data="AAAA", kind="image")
        [told] = listening.wait("event")
    assert (told["payload"]["id"], told["name"]) == (receipt.id, "media.rejected")
    assert system.queue.client.xlen("{esteira}:events") == 1


def test_it_is_off_unless_it_is_asked_for(system: RunningSystem) -> None:
    assert node_socketio.build(system.settings, HttpClient()) is None
