"""The doctor's check of a Node server's Redis."""

from __future__ import annotations

from actors.doctor.finding import Level
from actors.doctor.node_server import run_checks
from pipeline.config.settings import load_settings
from tests.support.valkey import ValkeyServer, free_port


def levels(url: str, *, enabled: bool = True) -> list[Level]:
    settings = load_settings(_env_file=None, notify_node_socketio=enabled, node_socketio_redis_url=url)
    return [finding.level for finding in run_checks(settings)]


def test_no_finding_unless_a_node_server_is_notified(valkey: ValkeyServer) -> None:
    assert levels(valkey.url, enabled=False) == []


def test_redis_without_a_subscribed_adapter_warns(valkey: ValkeyServer) -> None:
    assert levels(valkey.url) == ["warn"]
    with valkey.client().pubsub() as adapter:
        adapter.psubscribe("socket.io#/#*")
        adapter.get_message(timeout=5)
        assert levels(valkey.url) == ["ok"]


def test_unreachable_redis_fails() -> None:
    assert levels(f"redis://:hidden@127.0.0.1:{free_port()}/0") == ["fail"]
