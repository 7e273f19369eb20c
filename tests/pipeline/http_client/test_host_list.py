"""Lists of hosts: names, ports, patterns, and the networks of the operator."""

from __future__ import annotations

import ipaddress

import pytest

from pipeline.errors import PermanentError
from pipeline.http_client import HostList
from pipeline.http_client.ssrf_guard import parse_url

NETWORKS = tuple(map(ipaddress.ip_network, ("10.1.0.0/16", "127.0.0.0/8")))
HOSTS = HostList(("mmg.whatsapp.net", "a.example:8443", "*.cdn.example"), networks=NETWORKS, refusal="by HOSTS")


@pytest.mark.parametrize(
    "url",
    [
        "https://mmg.whatsapp.net/x",
        "http://MMG.whatsapp.net.:8080/x",
        "https://a.example:8443/x",
        "https://b.cdn.example/",
        "https://c.b.cdn.example/",
        "http://10.1.2.3/",
        "http://localhost:9000/",
        "http://127.0.0.1/",
    ],
)
def test_listed_host_is_included(url: str) -> None:
    HOSTS.check(parse_url(url))


@pytest.mark.parametrize(
    "url",
    [
        "https://whatsapp.net/",
        "https://mmg.whatsapp.net.evil.example/",
        "https://xmmg.whatsapp.net/",
        "https://a.example/",
        "https://a.example:8444/",
        "https://cdn.example/",
        "https://evilcdn.example/",
        "http://10.2.0.1/",
        "http://[::1]/",
    ],
)
def test_other_host_is_refused_with_the_reason(url: str) -> None:
    with pytest.raises(PermanentError, match=r"url_blocked: .* is not allowed: by HOSTS"):
        HOSTS.check(parse_url(url))


def test_star_includes_every_host_and_an_empty_list_none() -> None:
    HostList(("a.example", "*"), refusal="").check(parse_url("https://any.example/"))
    with pytest.raises(PermanentError):
        HostList((), refusal="").check(parse_url("https://any.example/"))
