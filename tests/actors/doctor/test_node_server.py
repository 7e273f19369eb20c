"""`esteira doctor` on the Redis of a Node server."""

from __future__ import annotations

from actors.doctor.finding import Level
from actors.doctor.node_server import run_checks
from pipeline.config.settings import load_settings
from tests.support.valkey import ValkeyServer, free_port


def levels(url: str, *, told: bool = True) -> list[Level]:
    given = load_settings(_env_file=None, notify_node_socketio=told, node_socketio_redis_url=url)
    return [finding.level for finding in run_checks(given)]


def test_it_is_asked_for_only_where_a_node_server_is_told(valkey: ValkeyServer) -> None:
    assert levels(valkey.url, told=False) == []


def test_nobody_listening_is_a_warning_and_an_adapter_is_a_listener(valkey: ValkeyServer) -> None:
    assert levels(valkey.url) == ["warn"]
    with valkey.client().pubsub() as adapter:
        adapter.psubscribe("socket.io#/#*")
        adapter.get_message(timeout=5)
        assert levels(valkey.url) == ["ok"]


def test_a_redis_that_is_away_fails() -> None:
    assert levels(f"redis://:hidden@127.0.0.1:{free_port()}/0") == ["fail"]
