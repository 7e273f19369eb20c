"""URLs that the guard must refuse before any connection."""

from __future__ import annotations

import socket
import threading
from collections.abc import Iterator
from typing import Any

import pytest

from pipeline.errors import Code, PermanentError, RetryableError
from pipeline.http_client import HttpClient, ssrf_guard
from tests.support.hostile_server import HostileServer, canary
from tests.support.http_client import Names, download, local_http_client
from tests.support.media_server import MediaServer

# P is replaced by the port on which the canary listens.
FORMS = {
    "SSRF-01": ["http://127.0.0.1:P/"],
    "SSRF-02": ["http://127.0.0.2:P/", "http://127.127.127.127:P/"],
    "SSRF-03": ["http://localhost:P/", "http://LOCALHOST.:P/", "http://LocalHost:P/"],
    "SSRF-04": ["http://2130706433:P/", "http://2130706433.:P/"],
    "SSRF-05": ["http://0177.0.0.1:P/", "http://017700000001:P/"],
    "SSRF-06": ["http://0x7f000001:P/", "http://0x7f.1:P/", "http://0X7F.0.0.0x1:P/"],
    "SSRF-07": ["http://127.1:P/", "http://127.0.1:P/"],
    "SSRF-08": ["http://0:P/", "http://0.0.0.0:P/"],
    "SSRF-09": ["http://[::1]:P/", "http://[0:0:0:0:0:0:0:1]:P/", "http://[::]:P/"],
    "SSRF-10": ["http://[::ffff:127.0.0.1]:P/", "http://[::ffff:7f00:1]:P/"],
    "SSRF-11": ["http://[::127.0.0.1]:P/"],
    "SSRF-12": ["http://①②⑦.0.0.1:P/", "http://ⓛocalhost:P/", "http://127。0。0。1:P/"],
    "SSRF-13": ["http://%31%32%37.0.0.1:P/"],
    "SSRF-14": [
        "http://127.0.0.1%00.example.com:P/",
        "http://example.com%00@127.0.0.1:P/",
        "http://127.0.0.1\0.example.com:P/",
    ],
    "SSRF-15": ["http://[fe80::1%25lo]:P/", "http://[::1%lo]:P/"],
    "SSRF-16": [
        "http://169.254.169.254/latest/meta-data/",
        "http://2852039166/",
        "http://0xa9fea9fe/",
        "http://168.63.129.16/machine?comp=goalstate",
        "http://161.26.0.10/",
        "http://192.0.0.192/opc/v2/",
    ],
    "SSRF-17": ["http://[fd00:ec2::254]/"],
    "SSRF-18": ["http://10.0.0.1/", "http://172.16.0.1/", "http://172.31.255.255/", "http://192.168.1.1/"],
    "SSRF-19": ["http://100.64.0.1/", "http://100.127.255.255/"],
    "SSRF-20": ["http://[64:ff9b::10.0.0.1]/", "http://[64:ff9b:1:a00:0:100::]/"],
    "SSRF-21": ["http://[2002:a00:1::]/", "http://[2002:c0a8:1::]/"],
    "SSRF-22": ["http://[2001:0:0:0:0:0:f5ff:fffe]/"],
    "SSRF-23": ["http://[2001:db8::5efe:10.0.0.1]/", "http://[2a00:1450::5efe:10.0.0.1]/"],
    "SSRF-24": ["http://[fc00::1]/", "http://[fd00::1]/", "http://[fe80::1]/", "http://[fec0::1]/"],
    "SSRF-25": [
        "http://224.0.0.1/",
        "http://[ff02::1]/",
        "http://255.255.255.255/",
        "http://240.0.0.1/",
        "http://198.18.0.1/",
        "http://192.0.0.8/",
        "http://203.0.113.1/",
    ],
    "SSRF-33": [
        "http://user:pass@host/",
        "http://good.example@127.0.0.1:P/",
        "http://127.0.0.1:P\\@good.example/",
        "http://good.example#@127.0.0.1:P/",
        "http://good.example?@127.0.0.1:P/",
        "http:127.0.0.1/",
        "http:///127.0.0.1:P",
        "http://[::1]x:P/",
        "http://[::1/",
        "http://a b/",
        "http://-a.example/",
        "http://a..example/",
        "http://127.0.0.1:P\r\nHost: good.example/",
        f"http://{'a' * 64}.example/",
        f"http://{'a.' * 200}example/",
    ],
}
# Rows whose URLs name this machine itself, which a webhook of the settings may do; and those of them that do not.
OWN_MACHINE = {"SSRF-01": (), "SSRF-02": (), "SSRF-03": (), "SSRF-09": ("http://[::]:P/",), "SSRF-12": ()}
PORTS = (22, 25, 6379, 5432, 9000, 0, 65536, -1)
SCHEMES = (
    "file:///etc/passwd",
    "FILE:///etc/passwd",
    "file://localhost/etc/passwd",
    "ftp://127.0.0.1:P/",
    "gopher://127.0.0.1:P/_FLUSHALL",
    "dict://127.0.0.1:P/",
    "ldap://127.0.0.1:P/",
    "sftp://127.0.0.1:P/",
    "tftp://127.0.0.1:P/",
    "jar:http://127.0.0.1:P/!/",
    "netdoc:///etc/passwd",
    "data:text/html,x",
    "blob:http://127.0.0.1:P/",
    "javascript:alert(1)",
    "s3://bucket/key",
    "unix:/var/run/docker.sock",
    "//127.0.0.1:P/",
    "127.0.0.1:P",
    "",
)


@pytest.fixture
def trap() -> Iterator[HostileServer]:
    with canary() as server:
        yield server


@pytest.fixture
def dialled(monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    """The addresses to which this thread connects; other threads may still run requests of an earlier test."""
    seen: list[Any] = []
    connect = socket.socket.connect
    own = threading.get_ident()

    def spy(self: socket.socket, address: Any) -> None:
        if threading.get_ident() == own:
            seen.append(address)
        connect(self, address)

    monkeypatch.setattr(socket.socket, "connect", spy)
    return seen


def rows(*names: str) -> list[Any]:
    wanted = names or tuple(FORMS)
    return [pytest.param(url, id=f"{row}-{number}") for row in wanted for number, url in enumerate(FORMS[row], start=1)]


def refused(call: Any, *arguments: Any, **options: Any) -> PermanentError:
    with pytest.raises(PermanentError) as error:
        call(*arguments, **options)
    return error.value


def strict(trap: HostileServer, **options: Any) -> HttpClient:
    """A client with the default rules that also allows the canary's port, so that no URL is refused for its port."""
    return HttpClient(ports=(80, 443, trap.port), connect_timeout_s=1, **options)


def with_port(trap: HostileServer, url: str) -> str:
    return url.replace(":P", f":{trap.port}")


@pytest.mark.parametrize("url", rows())
def test_url_of_an_internal_address_is_blocked_before_any_connection(
    url: str, trap: HostileServer, dialled: list[Any]
) -> None:
    error = refused(download, strict(trap), with_port(trap, url))
    assert error.code == Code.URL_BLOCKED
    assert (trap.connections, dialled) == (0, [])


@pytest.mark.parametrize(
    "addresses",
    [
        pytest.param(["127.0.0.1"], id="SSRF-26-loopback"),
        pytest.param(["10.0.0.1"], id="SSRF-26-private"),
        pytest.param(["::ffff:127.0.0.1"], id="SSRF-26-mapped"),
        pytest.param(["93.184.216.34", "127.0.0.1"], id="SSRF-27-two-A"),
        pytest.param(["127.0.0.1", "93.184.216.34"], id="SSRF-27-two-A-turned"),
        pytest.param(["93.184.216.34", "::1"], id="SSRF-27-A-and-AAAA"),
        pytest.param(["93.184.216.34", "fe80::1%lo"], id="SSRF-27-zone"),
    ],
)
def test_name_with_any_internal_address_is_blocked(
    addresses: list[str], trap: HostileServer, dialled: list[Any]
) -> None:
    http_client = strict(trap, resolver=Names(addresses))
    assert refused(download, http_client, with_port(trap, "http://media.example:P/")).code == Code.URL_BLOCKED
    assert (trap.connections, dialled) == (0, [])


@pytest.mark.parametrize("url", [pytest.param(url, id=f"SSRF-32-{url.partition(':')[0]}") for url in SCHEMES])
def test_only_http_and_https_urls_are_fetched(url: str, trap: HostileServer, dialled: list[Any]) -> None:
    assert refused(download, strict(trap), with_port(trap, url)).code == Code.URL_SCHEME
    assert (trap.connections, dialled) == (0, [])


@pytest.mark.parametrize("port", [pytest.param(port, id=f"SSRF-34-{port}") for port in PORTS])
def test_forbidden_port_is_blocked_before_the_name_is_resolved(port: int, dialled: list[Any]) -> None:
    names = Names(["93.184.216.34"])
    error = refused(download, HttpClient(resolver=names), f"http://media.example:{port}/")
    assert (error.code, names.asked, dialled) == (Code.URL_BLOCKED, [], [])


@pytest.mark.parametrize("port", [pytest.param(port, id=f"SSRF-34-allowance-{port}") for port in PORTS])
def test_allowed_private_networks_do_not_allow_more_ports_of_public_servers(port: int, dialled: list[Any]) -> None:
    http_client = local_http_client(resolver=Names(["93.184.216.34"]))
    assert refused(download, http_client, f"http://media.example:{port}/").code == Code.URL_BLOCKED
    assert dialled == []


@pytest.mark.parametrize(
    "name",
    [pytest.param(name, id=f"SSRF-35-{name}") for name in ("HTTP_PROXY", "http_proxy", "ALL_PROXY", "all_proxy")],
)
def test_proxies_from_the_environment_are_ignored(
    name: str, trap: HostileServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(name, f"http://127.0.0.1:{trap.port}")
    monkeypatch.delenv("NO_PROXY", raising=False)
    with MediaServer({"a": b"direct"}) as server:
        assert download(local_http_client(), server.url("a")) == b"direct"
    assert refused(download, strict(trap), "http://127.0.0.1/").code == Code.URL_BLOCKED
    assert trap.connections == 0


@pytest.mark.parametrize(
    "url",
    [
        pytest.param(param.values[0], id=f"SSRF-36-{param.id}")
        for param in rows(*sorted(FORMS.keys() - OWN_MACHINE.keys()))
    ],
)
def test_webhook_to_an_internal_address_is_blocked_when_checked_and_when_sent(
    url: str, trap: HostileServer, dialled: list[Any]
) -> None:
    http_client = strict(trap)
    assert refused(http_client.check_url, with_port(trap, url), own_machine=True).code == Code.URL_BLOCKED
    assert refused(http_client.post, with_port(trap, url), b"{}", headers={}, timeout_s=1).code == Code.URL_BLOCKED
    assert (trap.connections, dialled) == (0, [])


@pytest.mark.parametrize("url", [url for row, others in OWN_MACHINE.items() for url in FORMS[row] if url not in others])
def test_webhook_may_name_this_machine_from_which_downloads_stay_refused(url: str) -> None:
    with MediaServer({"a": b"a"}) as server:
        http_client, local = HttpClient(connect_timeout_s=1), url.replace(":P", f":{server.port}")
        http_client.check_url(local, own_machine=True)
        if "127.0.0.1" in url or "localhost" in url.lower():  # the server listens on this address
            assert http_client.post(local, b"{}", headers={}, timeout_s=5).status == 204
        assert refused(http_client.check_url, local).code == Code.URL_BLOCKED
        assert refused(download, http_client, local).code == Code.URL_BLOCKED
        assert [request.method for request in server.requests if request.method != "POST"] == []


@pytest.mark.parametrize("url", [url for urls in OWN_MACHINE.values() for url in urls])
def test_webhook_to_the_unspecified_address_is_blocked(url: str, trap: HostileServer, dialled: list[Any]) -> None:
    http_client = strict(trap)
    assert refused(http_client.check_url, with_port(trap, url), own_machine=True).code == Code.URL_BLOCKED
    assert refused(http_client.post, with_port(trap, url), b"{}", headers={}, timeout_s=1).code == Code.URL_BLOCKED
    assert (trap.connections, dialled) == (0, [])


@pytest.mark.parametrize("url", [pytest.param(url, id=f"SSRF-36-{url.partition(':')[0]}") for url in SCHEMES])
def test_webhook_with_another_scheme_is_refused(url: str, trap: HostileServer, dialled: list[Any]) -> None:
    http_client = strict(trap)
    assert refused(http_client.check_url, with_port(trap, url)).code == Code.URL_SCHEME
    assert refused(http_client.post, with_port(trap, url), b"{}", headers={}, timeout_s=1).code == Code.URL_SCHEME
    assert (trap.connections, dialled) == (0, [])


@pytest.mark.parametrize("address", [pytest.param(ip, id=f"SSRF-36-moves-to-{ip}") for ip in ("127.0.0.1", "10.0.0.1")])
def test_webhook_name_rebound_to_an_internal_address_is_blocked_when_sent(
    address: str, trap: HostileServer, dialled: list[Any]
) -> None:
    http_client = strict(trap, resolver=Names(["93.184.216.34"], [address]))
    url = with_port(trap, "http://hook.example:P/")
    http_client.check_url(url)
    assert refused(http_client.post, url, b"{}", headers={}, timeout_s=1).code == Code.URL_BLOCKED
    assert (trap.connections, dialled) == (0, [])


def test_unresolved_name_is_accepted_when_a_webhook_url_is_checked(trap: HostileServer) -> None:
    strict(trap, resolver=Names([])).check_url("http://hook.example/")


def test_error_messages_contain_no_secrets_of_the_url() -> None:
    http_client = HttpClient(resolver=Names([]))
    url = "http://media.example/path-secret?token=query-secret"
    with pytest.raises(RetryableError) as error:
        download(http_client, url)
    assert "secret" not in str(error.value)
    error_with_user = refused(download, http_client, "http://user:password-secret@media.example/")
    assert "secret" not in str(error_with_user)


@pytest.mark.parametrize("host", ["a" * 260, "\u0591\u05ae" * 8000, "a:" + "0" * 10_000, "[" + ":" * 10_000 + "]"])
def test_long_host_is_refused_before_it_is_parsed(monkeypatch: pytest.MonkeyPatch, host: str) -> None:
    """urlsplit would take a second for 16,000 combining marks, in which no other thread runs."""
    monkeypatch.setattr(ssrf_guard, "urlsplit", lambda *_: pytest.fail("the host is parsed"))
    with pytest.raises(PermanentError, match="too long") as caught:
        ssrf_guard.parse_url(f"https://{host}/a")
    assert caught.value.code == Code.URL_BLOCKED


@pytest.mark.parametrize("prefix", ["https://", "//", "HTTP://", " //", "http:/\t/", "\x01//"])
def test_redirect_to_a_long_host_is_refused_before_it_is_parsed(monkeypatch: pytest.MonkeyPatch, prefix: str) -> None:
    monkeypatch.setattr(ssrf_guard, "urljoin", lambda *_: pytest.fail("the reference is parsed"))
    with pytest.raises(PermanentError, match="malformed") as caught:
        ssrf_guard.join_url("https://media.example/a", prefix + "\u0591\u05ae" * 15_000)
    assert caught.value.code == Code.URL_BLOCKED


@pytest.mark.parametrize(
    ("reference", "url"),
    [
        ("/b?c=1", "https://media.example/b?c=1"),
        ("b", "https://media.example/b"),
        ("//cdn.example/b", "https://cdn.example/b"),
        ("http://cdn.example:8080/b", "http://cdn.example:8080/b"),
        ("/foto " + "é" * 300, "https://media.example/foto " + "é" * 300),
    ],
)
def test_reference_of_a_redirect_is_joined(reference: str, url: str) -> None:
    assert ssrf_guard.join_url("https://media.example/a", reference) == url
