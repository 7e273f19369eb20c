"""Redirects and rebound names: CHECKS rows SSRF-28 to SSRF-31."""

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

# The server of these tests stands where it is allowed; the canary, on another loopback address, stands where it is not.
ALLOWED = "127.0.0.5"
ONLY_ALLOWED = (ipaddress.ip_network(f"{ALLOWED}/32"),)


def code_of(http_client: HttpClient, url: str, **given: Any) -> Code:
    with pytest.raises(PermanentError) as error:
        download(http_client, url, **given)
    return error.value.code


def redirect(place: str, status: int = 302) -> Answer:
    return Answer(status, {"Location": place})


@pytest.mark.parametrize("place", [pytest.param(ip, id=f"SSRF-28-to-{ip}") for ip in ("127.0.0.1", "169.254.169.254")])
def test_a_name_that_moves_inside_reaches_only_the_address_that_was_checked(place: str) -> None:
    """The connection goes where the check looked, under the name that was asked for."""
    names = Names([ALLOWED], [place])
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
    "place",
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
def test_every_redirect_is_checked_again(place: str, status: int) -> None:
    with canary() as trap, MediaServer(address=ALLOWED) as server:
        server.answers["a"] = redirect(place.replace(":P", f":{trap.port}"), status)
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
def test_redirects_that_lead_nowhere_end(answers: dict[str, Answer], hits: int) -> None:
    with MediaServer() as server:
        server.answers.update(answers)
        assert code_of(local_http_client(), server.url("a")) == Code.FETCH_REDIRECT
        assert len(server.requests) == hits


def test_five_redirects_are_followed_also_relative_ones() -> None:
    with MediaServer({"x/ä b.jpg": b"arrived"}) as server:
        for step, place in enumerate(["/1", "2?q=1", "../../3", server.url("4"), "/x/ä b.jpg"]):
            server.answers[str(step)] = redirect(place.encode().decode("latin-1"))
        assert download(local_http_client(), server.url("0")) == b"arrived"


@pytest.mark.parametrize("status", [pytest.param(status, id=f"SSRF-31-downgrade-{status}") for status in (302, 308)])
def test_a_redirect_may_not_leave_https(status: int) -> None:
    authority = trustme.CA()
    with MediaServer({"b": b"x"}) as plain, MediaServer(tls=server_context(authority, "127.0.0.1")) as secure:
        secure.answers["a"] = redirect(plain.url("b"), status)
        assert code_of(local_http_client(tls=client_context(authority)), secure.url("a")) == Code.URL_BLOCKED
        assert plain.requests == []


@pytest.mark.parametrize("name", [pytest.param(n, id=f"SSRF-31-{n}") for n in ("authorization", "x-api-key")])
def test_credentials_go_to_the_first_origin_only_and_do_not_come_back(name: str) -> None:
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
def test_credentials_do_not_follow_to_another_host_on_the_same_port(other: str) -> None:
    with MediaServer({"b": b"end"}) as server:
        server.answers["a"] = redirect(server.url("b", host=other))
        http_client = local_http_client(resolver=Names(["127.0.0.1"]))
        assert download(http_client, server.url("a"), credentials={"Authorization": "secret"}) == b"end"
        assert "authorization" not in server.requests[-1].headers


@pytest.mark.parametrize("place", ["/b", "http://media.example:P/b"])
def test_who_redirects_to_itself_is_checked_again_and_trusted_no_more_than_before(place: str) -> None:
    names = Names([ALLOWED], ["127.0.0.1"])
    with canary() as trap, MediaServer(address=ALLOWED) as server:
        own = place.replace(":P", f":{server.port}")
        server.answers["a"] = Answer(302, {"Location": own, "Connection": "close"})
        http_client = local_http_client(allow_private=ONLY_ALLOWED, resolver=names)
        url = server.url("a", host="media.example")
        assert code_of(http_client, url, trusted="http://gateway.example") == Code.URL_BLOCKED
    assert (trap.connections, len(names.asked)) == (0, 2)


def test_a_refusal_elsewhere_says_nothing_of_credentials_that_were_not_shown_there() -> None:
    with MediaServer() as own, MediaServer() as elsewhere:
        own.answers.update({"a": redirect(elsewhere.url("signed")), "b": Answer(403)})
        elsewhere.answers["signed"] = Answer(403)
        assert code_of(local_http_client(), own.url("a"), credentials={"X-Api-Key": "secret"}) == Code.SOURCE_GONE
        with pytest.raises(RetryableError, match="fetch_unauthorized"):
            download(local_http_client(), own.url("b"), credentials={"X-Api-Key": "secret"})


def test_a_post_does_not_follow_redirects() -> None:
    with canary() as trap, MediaServer() as server:
        server.answers["hook"] = redirect(f"http://127.0.0.1:{trap.port}/", 307)
        assert local_http_client().post(server.url("hook"), b"{}", headers={}, timeout_s=5).status == 307
    assert trap.connections == 0


def test_cookies_are_not_kept() -> None:
    with MediaServer({"b": b""}) as server:
        server.answers["a"] = Answer(302, {"Location": "/b", "Set-Cookie": "session=1"})
        http_client = local_http_client()
        download(http_client, server.url("a"))
        assert all("cookie" not in request.headers for request in server.requests)


def test_the_body_of_a_redirect_is_not_read() -> None:
    script = floods(head("Location: /next", "Transfer-Encoding: chunked", status="302 Found"), b"5\r\nhello\r\n")
    with HostileServer([script, says(head("Content-Length: 3"), b"end")]) as server:
        assert download(HttpClient(allow_private=LOOPBACK), server.url()) == b"end"


def test_the_late_body_of_a_redirect_is_not_taken_for_the_next_answer() -> None:
    evil = head("Content-Length: 4") + b"evil"

    def late(peer: Peer) -> None:
        peer.request()
        peer.send(head("Location: /next", f"Content-Length: {len(evil)}", status="302 Found"))
        peer.wait(0.1)
        peer.send(evil)
        peer.wait()

    with HostileServer([late, says(head("Content-Length: 4"), b"good")]) as server:
        assert download(local_http_client(), server.url()) == b"good"
