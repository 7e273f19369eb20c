"""Redirects and DNS rebinding."""

from __future__ import annotations

import ipaddress
from typing import Any

import pytest
import trustme

from pipeline.errors import Code, PermanentError, RetryableError
from pipeline.http_client import HttpClient
from tests.support.hostile_server import HostileServer, Peer, canary, floods, head, says
from tests.support.http_client import LOOPBACK, Names, download, local_http_client
from tests.support.media_server import Answer, MediaServer
from tests.support.tls import client_context, server_context

# The test server listens on an allowed address; the canary listens on another loopback address, which is not allowed.
ALLOWED = "127.0.0.5"
ONLY_ALLOWED = (ipaddress.ip_network(f"{ALLOWED}/32"),)


def code_of(http_client: HttpClient, url: str, **options: Any) -> Code:
    with pytest.raises(PermanentError) as error:
        download(http_client, url, **options)
    return error.value.code


def redirect(location: str, status: int = 302) -> Answer:
    return Answer(status, {"Location": location})


@pytest.mark.parametrize(
    "address", [pytest.param(ip, id=f"SSRF-28-to-{ip}") for ip in ("127.0.0.1", "169.254.169.254")]
)
def test_rebound_name_connects_only_to_the_checked_address(address: str) -> None:
    """The client connects to the address that it checked and sends the requested name as Host."""
    names = Names([ALLOWED], [address])
    with canary() as trap, MediaServer({"a": b"whole"}, address=ALLOWED) as server:
        http_client = local_http_client(allow_private=ONLY_ALLOWED, resolver=names)
        url = server.url("a", host="media.example")
        assert download(http_client, url) == b"whole"
        assert (names.asked, server.requests[0].headers["host"]) == (["media.example"], f"media.example:{server.port}")
        http_client.close()
        assert code_of(http_client, url) == Code.URL_BLOCKED
    assert trap.connections == 0


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
@pytest.mark.parametrize(
    "location",
    [
        pytest.param("http://127.0.0.1:P/", id="SSRF-29-loopback"),
        pytest.param("http://169.254.169.254/", id="SSRF-29-metadata"),
        pytest.param("//127.0.0.1:P/", id="SSRF-29-relative-scheme"),
        pytest.param("file:///etc/passwd", id="SSRF-29-file"),
        pytest.param("http://user@127.0.0.5:P/", id="SSRF-29-userinfo"),
        pytest.param("http://[::1/", id="SSRF-29-malformed"),
        pytest.param("http://inner.example:P/", id="SSRF-29-name"),
    ],
)
def test_redirect_to_a_forbidden_url_is_blocked(location: str, status: int) -> None:
    with canary() as trap, MediaServer(address=ALLOWED) as server:
        server.answers["a"] = redirect(location.replace(":P", f":{trap.port}"), status)
        http_client = local_http_client(allow_private=ONLY_ALLOWED, resolver=Names(["127.0.0.1"]))
        assert code_of(http_client, server.url("a")) == Code.URL_BLOCKED
    assert trap.connections == 0


@pytest.mark.parametrize(
    ("answers", "hits"),
    [
        pytest.param({"a": redirect("/a")}, 6, id="SSRF-30-loop"),
        pytest.param({"a": redirect("/b"), "b": redirect("/a")}, 6, id="SSRF-30-loop-of-two"),
        pytest.param({f"{n or 'a'}": redirect(f"/{n + 1}") for n in range(50)}, 6, id="SSRF-30-chain-of-50"),
        pytest.param({"a": Answer(302)}, 1, id="SSRF-30-no-location"),
        pytest.param({"a": redirect("/" + "x" * 1_000_000)}, 1, id="SSRF-30-location-of-1-MB"),
        pytest.param({"a": redirect("../../a")}, 6, id="SSRF-30-dots"),
        pytest.param({"a": Answer(300, {"Location": "/b"})}, 1, id="SSRF-30-multiple-choices"),
        pytest.param({"a": Answer(304)}, 1, id="SSRF-30-not-modified"),
    ],
)
def test_redirect_loops_and_invalid_redirects_are_refused(answers: dict[str, Answer], hits: int) -> None:
    with MediaServer() as server:
        server.answers.update(answers)
        assert code_of(local_http_client(), server.url("a")) == Code.FETCH_REDIRECT
        assert len(server.requests) == hits


def test_five_absolute_or_relative_redirects_are_followed() -> None:
    with MediaServer({"x/ä b.jpg": b"arrived"}) as server:
        for step, location in enumerate(["/1", "2?q=1", "../../3", server.url("4"), "/x/ä b.jpg"]):
            server.answers[str(step)] = redirect(location.encode().decode("latin-1"))
        assert download(local_http_client(), server.url("0")) == b"arrived"


@pytest.mark.parametrize("status", [pytest.param(status, id=f"SSRF-31-downgrade-{status}") for status in (302, 308)])
def test_redirect_from_https_to_http_is_blocked(status: int) -> None:
    authority = trustme.CA()
    with MediaServer({"b": b"x"}) as plain, MediaServer(tls=server_context(authority, "127.0.0.1")) as secure:
        secure.answers["a"] = redirect(plain.url("b"), status)
        assert code_of(local_http_client(tls=client_context(authority)), secure.url("a")) == Code.URL_BLOCKED
        assert plain.requests == []


@pytest.mark.parametrize("name", [pytest.param(n, id=f"SSRF-31-{n}") for n in ("authorization", "x-api-key")])
def test_credentials_are_sent_only_to_the_first_origin_and_not_after_returning_to_it(name: str) -> None:
    with MediaServer() as first, MediaServer() as second:
        first.answers.update({"a": redirect("/b"), "b": redirect(second.url("c")), "d": Answer(200, body=b"end")})
        second.answers["c"] = redirect(first.url("d"))
        assert (
            download(local_http_client(), first.url("a"), headers={"Origin": "o"}, credentials={name: "secret"})
            == b"end"
        )
        seen = {request.path: request.headers for request in [*first.requests, *second.requests]}
    assert {path for path, headers in seen.items() if name in headers} == {"/a", "/b"}
    assert all(headers["origin"] == "o" for headers in seen.values())


@pytest.mark.parametrize("other", [pytest.param(o, id=f"SSRF-31-{o}") for o in ("localhost", "other.example")])
def test_credentials_are_not_sent_to_another_host_on_the_same_port(other: str) -> None:
    with MediaServer({"b": b"end"}) as server:
        server.answers["a"] = redirect(server.url("b", host=other))
        http_client = local_http_client(resolver=Names(["127.0.0.1"]))
        assert download(http_client, server.url("a"), credentials={"Authorization": "secret"}) == b"end"
        assert "authorization" not in server.requests[-1].headers


@pytest.mark.parametrize("location", ["/b", "http://media.example:P/b"])
def test_redirect_to_the_same_host_is_checked_again(location: str) -> None:
    names = Names([ALLOWED], ["127.0.0.1"])
    with canary() as trap, MediaServer(address=ALLOWED) as server:
        target = location.replace(":P", f":{server.port}")
        server.answers["a"] = Answer(302, {"Location": target, "Connection": "close"})
        http_client = local_http_client(allow_private=ONLY_ALLOWED, resolver=names)
        url = server.url("a", host="media.example")
        assert code_of(http_client, url, trusted_url="http://gateway.example") == Code.URL_BLOCKED
    assert (trap.connections, len(names.asked)) == (0, 2)


def test_refusal_by_another_origin_is_not_an_authorization_error() -> None:
    with MediaServer() as first, MediaServer() as second:
        first.answers.update({"a": redirect(second.url("signed")), "b": Answer(403)})
        second.answers["signed"] = Answer(403)
        assert code_of(local_http_client(), first.url("a"), credentials={"X-Api-Key": "secret"}) == Code.SOURCE_GONE
        with pytest.raises(RetryableError, match="fetch_unauthorized"):
            download(local_http_client(), first.url("b"), credentials={"X-Api-Key": "secret"})


def test_post_does_not_follow_redirects() -> None:
    with canary() as trap, MediaServer() as server:
        server.answers["hook"] = redirect(f"http://127.0.0.1:{trap.port}/", 307)
        assert local_http_client().post(server.url("hook"), b"{}", headers={}, timeout_s=5).status == 307
    assert trap.connections == 0


def test_cookies_of_a_redirect_are_not_kept() -> None:
    with MediaServer({"b": b""}) as server:
        server.answers["a"] = Answer(302, {"Location": "/b", "Set-Cookie": "session=1"})
        http_client = local_http_client()
        download(http_client, server.url("a"))
        assert all("cookie" not in request.headers for request in server.requests)


def test_endless_body_of_a_redirect_is_not_read() -> None:
    script = floods(head("Location: /next", "Transfer-Encoding: chunked", status="302 Found"), b"5\r\nhello\r\n")
    with HostileServer([script, says(head("Content-Length: 3"), b"end")]) as server:
        assert download(HttpClient(allow_private=LOOPBACK), server.url()) == b"end"


def test_late_body_of_a_redirect_is_not_read_as_the_next_response() -> None:
    evil = head("Content-Length: 4") + b"evil"

    def sends_body_late(peer: Peer) -> None:
        peer.request()
        peer.send(head("Location: /next", f"Content-Length: {len(evil)}", status="302 Found"))
        peer.wait(0.1)
        peer.send(evil)
        peer.wait()

    with HostileServer([sends_body_late, says(head("Content-Length: 4"), b"good")]) as server:
        assert download(local_http_client(), server.url()) == b"good"
