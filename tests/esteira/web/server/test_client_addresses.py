"""The address of a client is what limits per address count; a client cannot choose it."""

from __future__ import annotations

import pytest
from starlette.requests import HTTPConnection

from esteira.web.server.client_addresses import ClientAddresses, group_of
from pipeline.config.settings import load_settings

PROXIES = ClientAddresses(load_settings(_env_file=None, trusted_proxies="10.0.0.0/8,fd00::/8").trusted_proxies)


def connection(peer: str | None, *forwarded: str) -> HTTPConnection:
    headers = [(b"x-forwarded-for", value.encode()) for value in forwarded]
    return HTTPConnection({"type": "http", "client": (peer, 1) if peer else None, "headers": headers})


@pytest.mark.parametrize(
    ("peer", "forwarded", "expected"),
    [
        ("203.0.113.1", [], "203.0.113.1"),
        ("203.0.113.1", ["198.51.100.7"], "203.0.113.1"),  # not a trusted proxy: anyone can send this header
        ("10.0.0.1", [], "10.0.0.1"),
        ("10.0.0.1", ["198.51.100.7"], "198.51.100.7"),
        ("10.0.0.1", ["1.2.3.4, 198.51.100.7"], "198.51.100.7"),  # the first one was sent by the client
        ("10.0.0.1", ["1.2.3.4", "198.51.100.7"], "198.51.100.7"),
        ("10.0.0.1", ["198.51.100.7, 10.2.3.4"], "198.51.100.7"),
        ("10.0.0.1", ["10.9.9.9, 10.2.3.4"], "10.9.9.9"),
        ("10.0.0.1", ["198.51.100.7, unknown"], "10.0.0.1"),
        ("10.0.0.1", ["198.51.100.7, unknown, 10.2.3.4"], "10.2.3.4"),
        ("10.0.0.1", ["198.51.100.7:4711"], "198.51.100.7"),
        ("fd00::1", ["[2001:db8::1]:4711"], "2001:db8::1"),
        ("::ffff:10.0.0.1", ["198.51.100.7"], "198.51.100.7"),
        (None, ["198.51.100.7"], ""),
    ],
)
def test_address_is_the_last_one_that_is_not_a_trusted_proxy(
    peer: str | None, forwarded: list[str], expected: str
) -> None:
    assert PROXIES.address_of(connection(peer, *forwarded)) == expected


def test_header_is_ignored_without_trusted_proxies() -> None:
    assert ClientAddresses(()).address_of(connection("10.0.0.1", "198.51.100.7")) == "10.0.0.1"


@pytest.mark.parametrize(
    ("host", "group"),
    [
        ("198.51.100.7", "198.51.100.7"),
        ("2001:db8::1", "2001:db8::/64"),
        ("2001:db8::ffff:1", "2001:db8::/64"),
        ("2001:db8:0:1::1", "2001:db8:0:1::/64"),
        ("testclient", "testclient"),
        ("", ""),
    ],
)
def test_ipv6_addresses_of_one_network_are_one_group(host: str, group: str) -> None:
    assert group_of(host) == group
