"""URLs of Redis: their forms, what a person reads of them, and what is refused."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import SecretStr
from redis.connection import parse_url

from pipeline.config.redis_urls import Login, Node, parse_redis_url
from pipeline.config.settings import load_settings
from pipeline.errors import SettingsError


@pytest.mark.parametrize(
    ("url", "kind", "nodes", "name"),
    [
        ("redis://host", "single", [("host", 6379)], "host:6379"),
        ("REDISS://:p@host:7000/3", "single", [("host", 7000)], "host:7000"),
        ("redis:///2", "single", [("localhost", 6379)], "localhost:6379"),
        ("unix:///run/valkey.sock?db=1", "unix", [], "/run/valkey.sock"),
        (
            "redis+sentinel://s1,s2:27000/m",
            "sentinel",
            [("s1", 26379), ("s2", 27000)],
            "m (sentinels s1:26379, s2:27000)",
        ),
        ("redis+sentinel://u:p@[::1]:5/m/1", "sentinel", [("::1", 5)], "m (sentinels [::1]:5)"),
        ("rediss+cluster://a:1,[fd00::2]", "cluster", [("a", 1), ("fd00::2", 6379)], "a:1, [fd00::2]:6379"),
    ],
)
def test_forms_of_urls(url: str, kind: str, nodes: list[tuple[str, int]], name: str) -> None:
    parts = parse_redis_url(url)
    assert (parts.kind, list(parts.nodes), str(parts)) == (kind, nodes, name)
    assert parts.tls == url.lower().startswith("rediss")


def test_sentinel_url_gives_servers_and_sentinels_their_own_logins() -> None:
    url = "rediss+sentinel://app:p%40ss@s1:1,s2:2/main/4?sentinel_username=watch&sentinel_password=s%26cret&ssl_cert_reqs=none"
    parts = parse_redis_url(url)
    assert (parts.service, parts.sentinel_login) == ("main", Login("watch", "s&cret"))
    options = parse_url(parts.client_url)  # type: ignore[no-untyped-call]
    assert (options["username"], options["password"], options["db"]) == ("app", "p@ss", 4)
    assert options["ssl_cert_reqs"] == "none"
    assert "sentinel" not in parts.client_url


@pytest.mark.parametrize(
    ("url", "reason"),
    [
        ("http://host", "must be redis://"),
        ("redis+proxy://host", "must be redis://"),
        ("redis://host:0", "must be redis://"),
        ("redis://host:x", "must be redis://"),
        ("redis://a:1,b:2/0", "names several hosts"),
        ("redis+sentinel://:hidden-word@s1", "names no service"),
        ("redis+sentinel:///main", "address number 1"),
        ("redis+sentinel://s1:1,/main", "address number 2"),
        ("redis+sentinel://s1:99999/main", "address number 1"),
        ("redis+sentinel://s1/main/one", "database"),
        ("redis+cluster://a/x", "database"),
        ("redis+sentinel://:hidden/word@s1/main", "cannot be read|address number|database"),
    ],
)
def test_wrong_url_is_refused_without_repeating_it(url: str, reason: str) -> None:
    with pytest.raises(ValueError, match=reason) as refused:
        parse_redis_url(url)
    assert "hidden" not in str(refused.value)
    with pytest.raises(SettingsError, match="REDIS_URL") as error:
        load_settings(_env_file=None, redis_url=url)
    assert "hidden" not in str(error.value)


@given(st.text(max_size=60))
def test_any_text_is_a_url_or_is_refused(text: str) -> None:
    for url in (text, f"redis+sentinel://{text}", f"redis+cluster://{text}", f"redis://{text}"):
        try:
            parts = parse_redis_url(url)
        except ValueError:
            continue
        assert all(node.host and 0 < node.port < 65536 for node in parts.nodes)


def test_passwords_of_servers_and_sentinels_are_secrets_of_the_settings() -> None:
    url = "redis+sentinel://:servers-word@s1:1,s2:2/main?sentinel_password=sentinels%2Dword"
    settings = load_settings(_env_file=None, redis_url=url)
    assert {"servers-word", "sentinels-word"} <= set(settings.secrets())
    assert isinstance(settings.redis_url, SecretStr)


@pytest.mark.parametrize("host", ["a,b", "a:1", "u@a", "a/0", "a b"])
def test_redis_host_is_one_host(host: str) -> None:
    with pytest.raises(SettingsError, match="REDIS_HOST"):
        load_settings(_env_file=None, redis_host=host)


def test_redis_host_may_be_an_ipv6_address() -> None:
    settings = load_settings(_env_file=None, redis_host="::1")
    assert parse_redis_url(settings.redis).nodes == (Node("::1", 6379),)
