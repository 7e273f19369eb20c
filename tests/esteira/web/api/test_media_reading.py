"""`GET /media` and `GET /media/{id}` of the real web app: pages, filters and permissions."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping
from typing import Any
from urllib.parse import quote

import pytest
from pydantic import SecretStr

from pipeline.models import Record, Status
from pipeline.security.tokens import TokenSigner
from tests.support.catalogues import MEDIA_KEY, finished
from tests.support.system import RunningSystem
from tests.support.web import app_client
from tests.support.web_server import TOKEN, Reply, WebServer, web_server

ALL = {"Authorization": f"Bearer {TOKEN}"}
PASSES = TokenSigner(SecretStr(TOKEN))
SIGNED_URL = "https://media.example/x?signature=s1gnature"


def of_session(session: str) -> dict[str, str]:
    return {"Authorization": f"Bearer {PASSES.session_token(session, gateway='media', days=1)}"}


@pytest.fixture
def server(system: RunningSystem) -> Iterator[WebServer]:
    with web_server(system) as server:
        yield server


def made(system: RunningSystem, session: str, status: Status = Status.DONE, **fields: Any) -> Record:
    given = {"url": SIGNED_URL, "media_key": "00" * 32, **fields}
    return finished(system.services.catalogue, status, of=system.attachment(session=session, **given))


def get(server: WebServer, path: str, headers: Mapping[str, str] = ALL) -> Reply:
    return server.request("GET", path, headers=headers)


def ids(answer: Reply) -> list[str]:
    assert answer.status == 200, answer.body
    return [one["id"] for one in answer.json["media"]]


def test_pages_with_very_long_captions_are_shorter(system: RunningSystem, server: WebServer) -> None:
    expected = {made(system, "shop", caption="c" * 60_000).id for _ in range(12)}
    found: list[str] = []
    path = "/media?limit=200"
    while True:
        page = get(server, path)
        assert len(page.body) < 700_000
        found += ids(page)
        if page.json["next"] is None:
            break
        path = f"/media?limit=200&next={page.json['next']}"
    assert (len(found), set(found)) == (12, expected)


def test_pages_are_complete_and_do_not_overlap(system: RunningSystem, server: WebServer) -> None:
    expected = [made(system, "shop").id for _ in range(7)]
    found: list[str] = []
    path = "/media?limit=3"
    for size in (3, 3, 1):
        page = get(server, path)
        found += ids(page)
        assert len(page.json["media"]) == size
        path = f"/media?limit=3&next={page.json['next']}"
    assert page.json["next"] is None
    assert sorted(found) == sorted(expected)
    assert found == ids(get(server, "/media?limit=200"))
    times = [one["received_at"] for one in get(server, "/media").json["media"]]
    assert times == sorted(times, reverse=True)


def test_filters_are_combined(system: RunningSystem, server: WebServer) -> None:
    done = made(system, "shop", kind="image").id
    failed = made(system, "shop", Status.FAILED, kind="video").id
    other = made(system, "bar ü", Status.FAILED, kind="video").id
    for query, expected in {
        "status=done": {done},
        "status=failed": {failed, other},
        "session=shop": {done, failed},
        "session=bar%20%C3%BC": {other},
        "error=fetch_unavailable": {failed, other},
        "stage=fetch&session=shop": {failed},
        "kind=video&status=failed&session=shop": {failed},
        "since=1h": {done, failed, other},
        f"since={int(time.time() * 1000) + 60_000}": set(),
        "since=2100-01-01": set(),
        "session=nobody": set(),
    }.items():
        assert set(ids(get(server, f"/media?{query}"))) == expected, query


@pytest.mark.parametrize(
    ("query", "named"),
    [
        ("status=ended", "status"),
        ("status=", "status"),
        ("session=", "session"),
        ("session=a&session=b", "session"),
        ("sesion=a", "sesion"),
        ("since=yesterday", "since"),
        ("limit=0", "limit"),
        ("limit=201", "limit"),
        ("limit=-1", "limit"),
        ("limit=x", "limit"),
        ("next=x", "next"),
        ("next=" + "A" * 60, "next"),
        ("kind=program", "kind"),
    ],
)
def test_list_refuses_a_wrong_parameter_and_names_it(client: Any, query: str, named: str) -> None:
    answer = client.get(f"/media?{query}")
    assert (answer.status_code, answer.json()["error"]["code"]) == (400, "bad_payload")
    assert named in answer.json()["error"]["message"]


@pytest.fixture
def client(system: RunningSystem, monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    with app_client(system, monkeypatch) as client:
        yield client


def test_attachment_is_shown_without_secrets(system: RunningSystem, server: WebServer) -> None:
    record = made(system, "shop", filename="a.jpg", caption="<script>alert(1)</script>")
    answer = get(server, f"/media/{record.id}")
    assert answer.json["status"] == "done"
    assert answer.json["content"] == f"/media/{record.id}/content"
    assert answer.headers["content-type"] == "application/json"
    assert (answer.headers["x-content-type-options"], answer.headers["cache-control"]) == ("nosniff", "no-store")
    assert not {"payload", "media_key", "url", "direct_path", "claim", "progress", "storage_key"} & set(answer.json)
    for secret in (b"s1gnature", b"media.example/x", MEDIA_KEY.encode(), b"AAAAAAAA"):
        assert secret not in answer.body
    assert get(server, f"/media/{made(system, 'shop', Status.FAILED).id}").json["content"] is None


@pytest.mark.parametrize("media_id", ["f" * 32, "no-id", "%00", "..%2f..%2fetc%2fpasswd", "%2e%2e", "F" * 32])
def test_unknown_id_answers_404(client: Any, media_id: str) -> None:
    answer = client.get(f"/media/{media_id}")
    assert (answer.status_code, answer.json()["error"]["code"]) == (404, "not_found")


def test_api_03_session_token_sees_only_its_session(system: RunningSystem, server: WebServer) -> None:
    own, others = made(system, "shop"), made(system, "bar")
    shop = of_session("shop")
    assert ids(get(server, "/media", shop)) == [own.id]
    assert ids(get(server, "/media?session=shop", shop)) == [own.id]
    assert ids(get(server, "/media?session=bar", shop)) == []
    assert get(server, f"/media/{own.id}", shop).status == 200
    seconds = b'{"seconds": 60}'
    nobodys = get(server, f"/media/{'f' * 32}", shop)
    for answer in (
        get(server, f"/media/{others.id}", shop),
        server.request("POST", f"/media/{others.id}/link", seconds, headers=shop),
    ):
        assert (answer.status, answer.body) == (nobodys.status, nobodys.body) == (404, nobodys.body)
    assert server.request("POST", f"/media/{own.id}/link", seconds, headers=shop).status == 201
    for method, path in (
        ("POST", f"/media/{own.id}/replay"),
        ("POST", f"/media/{others.id}/replay"),
        ("GET", "/stats"),
        ("GET", "/workers"),
        ("POST", "/hooks/media"),
    ):
        refused = server.request(method, path, b"" if method == "POST" else None, headers=shop)
        assert (refused.status, refused.code) in {(403, "forbidden"), (401, "unauthorized")}, path


@pytest.mark.parametrize(
    "path", ["/media?x=&x=", "/media?limit=none", "/failures?since=&since=", "/webhooks/deliveries?x="]
)
def test_token_is_checked_before_the_parameters(server: WebServer, path: str) -> None:
    answer = get(server, path, {})
    assert (answer.status, answer.code) == (401, "unauthorized")


def test_api_05_reading_needs_a_token(system: RunningSystem, server: WebServer) -> None:
    record = made(system, "shop")
    late = TokenSigner(SecretStr(TOKEN), clock=lambda: time.time() - 86_400 * 2).session_token(
        "shop", gateway="media", days=1
    )
    foreign = TokenSigner(SecretStr(TOKEN + "2")).session_token("shop", gateway="media", days=1)
    shown: list[dict[str, str]] = [{}, {"Cookie": f"token={TOKEN}"}]
    shown += [{"Authorization": f"Bearer {token}"} for token in ("", "wrong", late, foreign)]
    shown.append({"Authorization": f"Basic {TOKEN}"})
    paths = ["/media", f"/media/{record.id}", "/stats", f"/media?token={quote(TOKEN)}"]
    for path in paths:
        for headers in shown:
            answer = get(server, path, headers)
            assert (answer.status, answer.code) == (401, "unauthorized"), (path, headers)
            assert answer.headers["www-authenticate"] == "Bearer"
    for path in ("/docs", "/redoc", "/openapi.json", "/metrics", "/debug", "/dramatiq"):
        assert get(server, path, {}).status in {401, 404}, path


def test_api_03_other_origins_may_not_read(system: RunningSystem, server: WebServer) -> None:
    headers = {**ALL, "Origin": "https://evil.example"}
    assert not [name for name in get(server, "/media", headers).headers if name.startswith("access-control")]
    asked = {"Origin": "https://evil.example", "Access-Control-Request-Method": "GET"}
    assert server.request("OPTIONS", "/media", headers=asked).status == 405


@pytest.mark.parametrize(("method", "path"), [("PUT", "/media"), ("GET", "/hooks/media"), ("DELETE", "/stats")])
def test_wrong_method_answers_405(server: WebServer, method: str, path: str) -> None:
    answer = server.request(method, path, headers=ALL)
    assert (answer.status, answer.code) == (405, "method_not_allowed")
    assert answer.headers["allow"]


@pytest.mark.parametrize(
    "body",
    [
        b"{",
        b'{"seconds": null}',
        b'{"seconds": 0}',
        b'{"seconds": true}',
        b'{"seconds": "60"}',
        b'{"seconds": 604801}',
        b"[]",
    ],
)
def test_link_refuses_wrong_seconds(system: RunningSystem, client: Any, body: bytes) -> None:
    answer = client.post(f"/media/{made(system, 'shop').id}/link", content=body)
    assert (answer.status_code, answer.json()["error"]["code"]) == (400, "bad_payload")


@pytest.mark.parametrize("body", [b"", b" ", b"{}"])
def test_link_without_seconds_is_valid_for_an_hour(system: RunningSystem, client: Any, body: bytes) -> None:
    answer = client.post(f"/media/{made(system, 'shop').id}/link", content=body)
    assert answer.status_code == 201
    assert abs(answer.json()["expires"] - time.time() - 3600) < 60
