"""The server that other tests rely on: it comes and goes as they ask."""

from __future__ import annotations

import pytest
import redis

from tests.support.valkey import ValkeyServer


def test_what_a_killed_server_wrote_to_its_log_is_there_again(own_valkey: ValkeyServer) -> None:
    client = own_valkey.client()
    client.config_set("appendfsync", "always")
    client.set("kept", "1")
    own_valkey.kill()
    with pytest.raises(redis.ConnectionError):
        client.ping()
    own_valkey.start()
    assert client.get("kept") == "1"


def test_a_paused_server_does_not_answer_until_it_is_resumed(own_valkey: ValkeyServer) -> None:
    client = redis.Redis.from_url(own_valkey.url, socket_timeout=0.1, retry=None)
    client.ping()
    own_valkey.pause()
    with pytest.raises(redis.TimeoutError):
        client.ping()
    own_valkey.resume()
    assert client.ping()


@pytest.mark.parametrize("round_", [1, 2])
def test_each_test_finds_the_shared_server_empty(valkey: ValkeyServer, round_: int) -> None:
    assert valkey.client().dbsize() == 0
    valkey.client().set("left", round_)
