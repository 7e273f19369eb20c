"""The Valkey server of the tests: kill, restart, pause and reset work."""

from __future__ import annotations

import pytest
import redis

from tests.support.valkey import ValkeyServer


def test_killed_server_restores_its_append_only_file(own_valkey: ValkeyServer) -> None:
    client = own_valkey.client()
    client.config_set("appendfsync", "always")
    client.set("kept", "1")
    own_valkey.kill()
    with pytest.raises(redis.ConnectionError):
        client.ping()
    own_valkey.start()
    assert client.get("kept") == "1"


def test_paused_server_does_not_answer_until_resumed(own_valkey: ValkeyServer) -> None:
    client = redis.Redis.from_url(own_valkey.url, socket_timeout=0.1, retry=None)
    client.ping()
    own_valkey.pause()
    with pytest.raises(redis.TimeoutError):
        client.ping()
    own_valkey.resume()
    assert client.ping()


@pytest.mark.parametrize("round_", [1, 2])
def test_shared_server_is_empty_at_the_start_of_each_test(valkey: ValkeyServer, round_: int) -> None:
    assert valkey.client().dbsize() == 0
    valkey.client().set("left", round_)
