"""Downloads through proxies (FETCH_PROXY), and proxies that misbehave."""

from __future__ import annotations

import socket
import time
from contextlib import ExitStack
from typing import Any

import pytest
import trustme

from pipeline.config.proxies import parse_proxies
from pipeline.errors import Code, PermanentError, RetryableError
from pipeline.http_client import HttpClient
from tests.support.hostile_server import HostileServer, Peer, Script, drips, floods, resets, stalls
from tests.support.http_client import Names, download, local_http_client
from tests.support.media_server import Answer, MediaServer
from tests.support.proxies import always, copy_both_ways, http_proxy, socks_proxy
from tests.support.tls import client_context, server_context

AUTHORITY = trustme.CA()
FILE = b"a file" * 10_000
LOGIN = "maria:p%C3%A4ss%2Fword%40x"
PLAIN_LOGIN = "maria:päss/word@x"
REFUSED_PORT = 1


def client(proxies: str, **given: Any) -> HttpClient:
    http_client = local_http_client(**{"resolver": Names(["127.0.0.1"]), "tls": client_context(AUTHORITY), **given})
    http_client.use_proxies(parse_proxies(proxies))
    return http_client


def refused(http_client: HttpClient, url: str = "http://media.example/a") -> RetryableError:
    with pytest.raises(RetryableError) as error:
        download(http_client, url, deadline_s=2)
    assert error.value.code == Code.FETCH_PROXY
    assert all(secret not in str(error.value) for secret in ("maria", "word", "p%C3"))
    return error.value


@pytest.mark.parametrize("scheme", ["http", "https"])
@pytest.mark.parametrize("kind", ["http", "https", "socks5", "socks5h"])
@pytest.mark.parametrize("login", [None, LOGIN])
def test_file_comes_through_the_proxy(kind: str, scheme: str, login: str | None) -> None:
    tls = server_context(AUTHORITY, "media.example") if scheme == "https" else None
    plain_login = PLAIN_LOGIN if login else None
    with ExitStack() as stack:
        media = stack.enter_context(MediaServer({"a": FILE}, tls=tls))
        if kind.startswith("socks"):
            proxy = socks_proxy(login=plain_login, names={"media.example": "127.0.0.1"})
        else:
            proxy_tls = server_context(AUTHORITY, "127.0.0.1") if kind == "https" else None
            proxy = http_proxy(login=plain_login, tls=proxy_tls)
        port, journal = stack.enter_context(proxy)
        http_client = client(f"{kind}://{login + '@' if login else ''}127.0.0.1:{port}")
        assert download(http_client, media.url("a", host="media.example")) == FILE
        http_client.close()
    # Only socks5h gets the name; all others get the address that was checked.
    assert journal.destinations == [f"{'media.example' if kind == 'socks5h' else '127.0.0.1'}:{media.port}"]


def test_connection_through_a_proxy_is_kept() -> None:
    with MediaServer({"a": FILE}) as media, http_proxy() as (port, journal):
        http_client = client(f"http://127.0.0.1:{port}")
        for _ in range(3):
            assert download(http_client, media.url("a", host="media.example")) == FILE
        http_client.close()
    assert len(journal.destinations) == 1


def test_proxy_is_chosen_by_host_and_redirects_choose_anew() -> None:
    with MediaServer({"a": FILE}) as media, http_proxy() as (first, one), socks_proxy() as (second, two):
        http_client = client(
            f"*.whatsapp.example=http://127.0.0.1:{first},plain.whatsapp.example=direct,*=socks5://127.0.0.1:{second}"
        )
        media.answers["moved"] = Answer(302, {"Location": media.url("a", host="elsewhere.example")})
        assert download(http_client, media.url("a", host="PLAIN.whatsapp.example")) == FILE
        assert (one.destinations, two.destinations) == ([], [])
        assert download(http_client, media.url("moved", host="mmg.whatsapp.example")) == FILE
        assert [len(one.destinations), len(two.destinations)] == [1, 1]
        http_client.close()


def test_webhooks_and_servers_from_the_settings_are_reached_directly() -> None:
    with MediaServer({"a": FILE}) as media, http_proxy() as (port, journal):
        http_client = client(f"http://127.0.0.1:{port}")
        assert http_client.post(media.url("hook"), b"{}", headers={}, timeout_s=2).status == 204
        assert download(http_client, media.url("a"), trusted_url=media.url("")) == FILE
        assert journal.destinations == []
        # A connection that was made directly carries no download that has to go through the proxy.
        assert download(http_client, media.url("a")) == FILE
        assert len(journal.destinations) == 1
        http_client.close()


def test_api_calls_go_through_the_proxy() -> None:
    with MediaServer({"a": b'{"url": "x"}'}) as media, http_proxy() as (port, journal):
        http_client = client(f"http://127.0.0.1:{port}")
        assert http_client.call_api(media.url("a"), headers={}, timeout_s=2).content == {"url": "x"}
        http_client.close()
    assert len(journal.destinations) == 1


@pytest.mark.parametrize("kind", ["http", "socks5", "socks5h"])
@pytest.mark.parametrize(
    ("url", "answers"),
    [
        ("http://169.254.169.254/latest/meta-data", ["127.0.0.1"]),
        ("http://10.0.0.1/a", ["127.0.0.1"]),
        ("http://inside.example/a", ["10.0.0.1"]),
        ("http://inside.example/a", ["93.184.216.34", "192.168.0.1"]),
        ("http://inside.example/a", ["::ffff:10.0.0.1"]),
        ("http://localhost/a", ["127.0.0.1"]),
        ("http://media.example:22/a", ["93.184.216.34"]),
    ],
)
def test_guard_checks_the_target_before_the_proxy_hears_of_it(kind: str, url: str, answers: list[str]) -> None:
    proxy = http_proxy() if kind == "http" else socks_proxy()
    with proxy as (port, journal):
        http_client = client(f"{kind}://127.0.0.1:{port}", resolver=Names(answers), allow_private=())
        with pytest.raises(PermanentError) as error:
            download(http_client, url)
    assert error.value.code == Code.URL_BLOCKED
    assert (journal.destinations, journal.heads) == ([], [])


def test_redirect_into_a_private_network_is_blocked_behind_a_proxy() -> None:
    with MediaServer({"a": FILE}) as media, http_proxy() as (port, journal):
        media.answers["a"] = Answer(302, {"Location": "http://169.254.169.254/"})
        with pytest.raises(PermanentError) as error:
            download(client(f"http://127.0.0.1:{port}"), media.url("a"))
    assert error.value.code == Code.URL_BLOCKED
    assert journal.destinations == [f"127.0.0.1:{media.port}"]


def test_name_is_resolved_once_and_its_address_is_pinned() -> None:
    names = Names(["127.0.0.1"], ["10.0.0.1"])
    with MediaServer({"a": FILE}) as media, http_proxy() as (port, journal):
        assert (
            download(client(f"http://127.0.0.1:{port}", resolver=names), media.url("a", host="media.example")) == FILE
        )
    assert names.asked == ["media.example"]
    assert journal.destinations == [f"127.0.0.1:{media.port}"]


@pytest.mark.parametrize("kind", ["http", "https", "socks5", "socks5h"])
def test_unreachable_proxy_is_named(kind: str) -> None:
    error = refused(client(f"{kind}://{LOGIN}@127.0.0.1:{REFUSED_PORT}"))
    assert error.message.startswith(f"the proxy {kind}://127.0.0.1:{REFUSED_PORT} is unreachable: ")


def test_proxy_whose_name_does_not_resolve_is_named() -> None:
    names = Names(["127.0.0.1"], [])
    error = refused(client("http://proxy.example:3128", resolver=names))
    assert error.message == "the proxy http://proxy.example:3128 is unreachable: proxy.example cannot be resolved"


@pytest.mark.parametrize(
    ("given", "words"),
    [("", "wants a login in FETCH_PROXY"), ("maria:wrong-word@", "refuses the login in FETCH_PROXY")],
)
def test_407_is_named(given: str, words: str) -> None:
    with http_proxy(login=PLAIN_LOGIN) as (port, journal):
        error = refused(client(f"http://{given}127.0.0.1:{port}"))
    assert error.message == f"the proxy http://127.0.0.1:{port} answers 407: it {words}"
    assert journal.destinations == []


@pytest.mark.parametrize(
    ("given", "words"),
    [("", "wants a login, and FETCH_PROXY has none"), ("maria:wrong-word@", "refuses the login in FETCH_PROXY")],
)
def test_refused_login_of_a_socks_proxy_is_named(given: str, words: str) -> None:
    with socks_proxy(login=PLAIN_LOGIN) as (port, journal):
        error = refused(client(f"socks5://{given}127.0.0.1:{port}"))
    assert error.message == f"the proxy socks5://127.0.0.1:{port} {words}"
    assert journal.destinations == []


HTTP_FAULTS: dict[str, tuple[Script, str]] = {
    "garbage": (always(b"\x00\xff garbage"), "does not answer as an HTTP proxy"),
    "ssh": (always(b"SSH-2.0-OpenSSH_9.7\r\n"), "does not answer as an HTTP proxy"),
    "bad status": (always(b"HTTP/1.1 9999 x\r\n\r\n"), "does not answer as an HTTP proxy"),
    "http 2": (always(b"HTTP/2 200\r\n\r\n"), "does not answer as an HTTP proxy"),
    "endless head": (floods(b"HTTP/1.1 200 OK\r\n", b"x: " + b"y" * 60_000 + b"\r\n"), "does not answer as an HTTP"),
    "half a head": (always(b"HTTP/1.1 200 OK\r\nx"), "does not answer in time"),
    "dripping head": (drips(b"HTTP/1.1 200 OK\r\nx: "), "does not answer in time"),
    "silence": (always(b""), "does not answer in time"),
    "reset": (resets(b"HTTP/1.1 2"), "closes the connection"),
    "redirect": (always(b"HTTP/1.1 302 Found\r\nLocation: http://127.0.0.1:9/\r\n\r\n"), "answers 302 to CONNECT"),
    "informational": (always(b"HTTP/1.1 100 Continue\r\n\r\n"), "answers 100 to CONNECT"),
    "forbidden": (always(b"HTTP/1.1 403 Forbidden\r\n\r\n<html>no</html>"), "answers 403 to CONNECT"),
    "bad gateway": (always(b"HTTP/1.1 502 Bad Gateway\r\n\r\n"), "does not reach media.example: it answers 502"),
    "early response": (
        always(b"HTTP/1.1 200 OK\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nevil"),
        "sends a response before the request",
    ),
}


@pytest.mark.parametrize("fault", HTTP_FAULTS)
def test_faulty_http_proxy_is_named(fault: str) -> None:
    script, words = HTTP_FAULTS[fault]
    with HostileServer(script) as proxy:
        began = time.monotonic()
        error = refused(client(f"http://{LOGIN}@127.0.0.1:{proxy.port}"))
        assert time.monotonic() - began < 10  # not without end
    assert error.message.startswith(f"the proxy http://127.0.0.1:{proxy.port} {words}")


NO_LOGIN = b"\x05\x00"
SOCKS_FAULTS: dict[str, tuple[Script, str]] = {
    "http": (always(b"HTTP/1.1 400 Bad Request\r\n\r\n"), "does not answer as a SOCKS 5 proxy"),
    "socks 4": (always(b"\x04\x5a\0\0\0\0\0\0"), "does not answer as a SOCKS 5 proxy"),
    "unknown method": (always(b"\x05\x07"), "wants a login, and FETCH_PROXY has none"),
    "silence": (always(b""), "does not answer in time"),
    "half": (always(NO_LOGIN + b"\x05"), "does not answer in time"),
    "not allowed": (always(NO_LOGIN + b"\x05\x02\x00\x01" + bytes(6)), "does not allow connections to this server"),
    "unreachable": (always(NO_LOGIN + b"\x05\x04\x00\x01" + bytes(6)), "does not reach media.example: its host"),
    "unknown reply": (always(NO_LOGIN + b"\x05\x63\x00\x01" + bytes(6)), "does not reach media.example: it answers 99"),
    "bad address": (always(NO_LOGIN + b"\x05\x00\x00\x09" + bytes(6)), "does not answer as a SOCKS 5 proxy"),
}


@pytest.mark.parametrize("fault", SOCKS_FAULTS)
def test_faulty_socks_proxy_is_named(fault: str) -> None:
    script, words = SOCKS_FAULTS[fault]
    with HostileServer(script) as proxy:
        error = refused(client(f"socks5://127.0.0.1:{proxy.port}"))
    assert error.message.startswith(f"the proxy socks5://127.0.0.1:{proxy.port} {words}")


def test_certificate_of_an_https_proxy_is_checked() -> None:
    with http_proxy(tls=server_context(AUTHORITY, "other.example")) as (port, journal):
        error = refused(client(f"https://{LOGIN}@127.0.0.1:{port}"))
    assert "is unreachable: 127.0.0.1: IP address mismatch" in error.message
    assert journal.heads == []  # the login was not sent


@pytest.mark.parametrize("kind", ["http", "https"])
def test_certificate_of_the_target_is_checked_behind_a_proxy(kind: str) -> None:
    proxy_tls = server_context(AUTHORITY, "127.0.0.1") if kind == "https" else None
    with (
        MediaServer({"a": FILE}, tls=server_context(AUTHORITY, "other.example")) as media,
        http_proxy(tls=proxy_tls) as (port, _),
        pytest.raises(PermanentError) as error,
    ):
        download(client(f"{kind}://127.0.0.1:{port}"), media.url("a", host="media.example"))
    assert error.value.code == Code.FETCH_TLS
    assert media.requests == []


def test_limits_of_size_and_time_hold_behind_a_proxy() -> None:
    tls, proxy_tls = server_context(AUTHORITY, "media.example"), server_context(AUTHORITY, "127.0.0.1")
    with MediaServer({"a": FILE}, tls=tls) as media, http_proxy(tls=proxy_tls) as (port, _):
        http_client = client(f"https://127.0.0.1:{port}")
        with pytest.raises(PermanentError) as too_large:
            download(http_client, media.url("a", host="media.example"), max_bytes=1000)
        media.delay_s = 4
        with pytest.raises(RetryableError) as too_slow:
            download(http_client, media.url("a", host="media.example"), deadline_s=1.5)
    assert (too_large.value.code, too_slow.value.code) == (Code.TOO_LARGE, Code.FETCH_TIMEOUT)


def test_stalled_handshake_of_the_target_times_out_behind_a_proxy() -> None:
    proxy_tls = server_context(AUTHORITY, "127.0.0.1")
    with (
        HostileServer(stalls()) as media,
        http_proxy(tls=proxy_tls) as (port, _),
        pytest.raises(RetryableError) as error,
    ):
        download(client(f"https://127.0.0.1:{port}"), media.url().replace("http:", "https:"))
    assert error.value.code == Code.FETCH_TIMEOUT


def test_second_address_is_tried_if_the_proxy_does_not_reach_the_first() -> None:
    with MediaServer({"a": FILE}) as media, http_proxy() as (port, _), HostileServer(_unreachable_first(port)) as proxy:
        names = Names(["127.0.0.2", "127.0.0.1"])
        assert download(client(f"http://127.0.0.1:{proxy.port}", resolver=names), media.url("a", host="x.example"))
    assert proxy.connections == 2


def _unreachable_first(port: int) -> list[Script]:
    return [always(b"HTTP/1.1 503 Unavailable\r\n\r\n"), _forwards(port)]


def _forwards(port: int) -> Script:
    def script(peer: Peer) -> None:
        with socket.create_connection(("127.0.0.1", port)) as server:
            copy_both_ways(peer.socket, server)

    return script


def test_environment_has_no_part_in_the_choice(monkeypatch: pytest.MonkeyPatch) -> None:
    with MediaServer({"a": FILE}) as media, HostileServer(always(b"")) as canary:
        for name in ("HTTP_PROXY", "http_proxy", "ALL_PROXY"):
            monkeypatch.setenv(name, f"http://127.0.0.1:{canary.port}")
        assert download(client(""), media.url("a")) == FILE
    assert canary.connections == 0
