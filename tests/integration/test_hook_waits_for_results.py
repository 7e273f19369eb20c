"""`POST /hooks/media?wait=SECONDS`: the finished record or the bytes in one call."""

from __future__ import annotations

import hashlib
import http.client
import json
import socket
import time
from collections.abc import Callable
from typing import Any

import pytest

from esteira.web.intake.result_waits import MAX_WAITING_OF_TOKEN, WaitTerms, wait_terms
from pipeline.catalogue.user_tokens import UserToken
from pipeline.errors import PayloadError
from pipeline.security.roles import Role
from pipeline.security.scopes import parse_scope
from pipeline.security.user_tokens import new_token
from tests.support.media_server import MediaServer
from tests.support.system import RunningSystem, photo
from tests.support.valkey import free_port
from tests.support.waiting import wait_until
from tests.support.web_server import TOKEN, Reply, WebServer, web_server

Make = Callable[..., RunningSystem]
JPEG = photo()


def post(server: WebServer, query: str, *, timeout: float = 60, **fields: Any) -> Reply:
    row = {"session": "s", "kind": "image", "filename": "praia.jpg", **fields}
    headers = {"Authorization": f"Bearer {TOKEN}"}
    return server.request("POST", f"/hooks/media?{query}", json.dumps(row).encode(), headers=headers, timeout=timeout)


@pytest.mark.parametrize(
    ("query", "terms"),
    [
        ({}, None),
        ({"content": "0"}, None),
        ({"wait": "30"}, WaitTerms(30, False)),
        ({"wait": "0.5", "content": "1"}, WaitTerms(0.5, True)),
        ({"wait": "300", "content": "true"}, WaitTerms(300, True)),
    ],
)
def test_wait_and_content_are_read_from_the_query(query: dict[str, str], terms: WaitTerms | None) -> None:
    assert wait_terms(query) == terms


@pytest.mark.parametrize(
    ("query", "field"),
    [
        *(({"wait": text}, "wait") for text in ("", "-1", "1e3", "inf", "nan", "301", "9999", "1,5", "٣", " 1", "10s")),
        ({"content": "1"}, "content"),
        ({"wait": "1", "content": "yes"}, "content"),
        ({"content": ""}, "content"),
    ],
)
def test_wrong_wait_is_refused_by_name(query: dict[str, str], field: str) -> None:
    with pytest.raises(PayloadError) as caught:
        wait_terms(query)
    assert caught.value.field == field


@pytest.mark.slow
def test_result_arrives_in_one_call_with_several_web_processes(make_system: Make) -> None:
    system = make_system()
    with (
        MediaServer({"a.jpg": JPEG, "bad.jpg": b"<html>"}) as media,
        web_server(system, web_workers="2") as server,
        system.workers(),
    ):
        done = post(server, "wait=60", message_id="1", url=media.url("a.jpg"))
        assert (done.status, done.json["status"]) == (200, "done")
        assert done.json["sha256"] == hashlib.sha256(JPEG).hexdigest()
        assert done.headers["x-attachment-id"] == done.json["id"]
        content = post(server, "wait=60&content=1", message_id="2", url=media.url("a.jpg"))
        assert (content.status, content.body) == (200, JPEG)
        assert content.headers["content-type"] == "image/jpeg"
        assert 'filename="praia.jpg"' in content.headers["content-disposition"]
        assert content.headers["x-attachment-id"]
        again = post(server, "wait=0&content=1", message_id="2", url=media.url("a.jpg"))
        assert (again.status, again.body) == (200, JPEG)
        bad = post(server, "wait=60", message_id="3", url=media.url("bad.jpg"))
        assert (bad.status, bad.json["status"]) == (200, "rejected")
        refused = post(server, "wait=60&content=1", message_id="3", url=media.url("bad.jpg"))
        assert (refused.status, refused.code) == (422, bad.json["error_code"])
        for query in ("wait=x", "content=1", "wait=301"):
            wrong = post(server, query, message_id="4", url=media.url("a.jpg"))
            assert (wrong.status, wrong.code) == (400, "bad_payload")
        rows = json.dumps([{"session": "s", "message_id": name, "url": media.url("a.jpg")} for name in "xy"]).encode()
        several = server.request("POST", "/hooks/media?wait=1", rows, headers={"Authorization": f"Bearer {TOKEN}"})
        assert (several.status, several.code) == (400, "bad_payload")


@pytest.mark.slow
def test_time_that_is_over_is_202_and_nothing_is_lost(make_system: Make) -> None:
    system = make_system()
    with MediaServer({"a.jpg": JPEG}) as media, web_server(system) as server:
        late = post(server, "wait=1&content=1", message_id="1", url=media.url("a.jpg"))
        assert late.status == 202
        [accepted] = late.json["accepted"]
        assert accepted["status"] == "received"
        with system.workers():
            [record] = system.wait_finished(accepted["id"])
        assert record.status == "done"


@pytest.mark.slow
def test_result_arrives_while_redis_is_away(make_system: Make) -> None:
    away = make_system().with_redis(f"redis://127.0.0.1:{free_port()}/0")
    with MediaServer({"a.jpg": JPEG}) as media, web_server(away) as server:
        content = post(server, "wait=60&content=1", message_id="1", url=media.url("a.jpg"))
        assert (content.status, content.body) == (200, JPEG)


@pytest.mark.slow
def test_waiting_requests_are_limited_and_end_with_their_clients_and_the_server(make_system: Make) -> None:
    system = make_system()

    def open_waiting(server: WebServer, number: int) -> socket.socket:
        body = json.dumps({"session": "s", "message_id": f"w{number}", "url": "http://127.0.0.1:9/x"}).encode()
        connection = socket.create_connection(("127.0.0.1", server.port), timeout=30)
        head = f"POST /hooks/media?wait=300 HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer {TOKEN}\r\n"
        connection.sendall(f"{head}Content-Length: {len(body)}\r\n\r\n".encode() + body)
        return connection

    def waits(server: WebServer) -> bool:
        """Whether there is room for another request."""
        began = time.monotonic()
        answer = post(server, "wait=2", message_id=f"p{began}", url="http://127.0.0.1:9/x")
        assert answer.status == 202
        return time.monotonic() - began > 1.5

    with web_server(system) as server:
        waiting = [open_waiting(server, number) for number in range(MAX_WAITING_OF_TOKEN)]
        wait_until(lambda: server.totals()["received"] >= MAX_WAITING_OF_TOKEN, within_s=30)
        wait_until(lambda: not waits(server), within_s=30)
        for connection in waiting[1:]:
            connection.close()  # abandoned: their places are free again
        wait_until(lambda: waits(server), within_s=30)
        server.terminate()
        assert "timeout graceful shutdown exceeded" not in server.log_text()  # the request has ended by itself
        answer = http.client.HTTPResponse(waiting[0])
        answer.begin()
        assert answer.status == 202


@pytest.mark.slow
def test_request_that_a_rule_ignores_does_not_wait(make_system: Make) -> None:
    system = make_system(intake_rules='[{"kinds": ["sticker"], "take": false}]')
    with web_server(system, allow_unsigned_hooks="true") as server:
        ignored = post(server, "wait=5", message_id="1", url="http://127.0.0.1:9/x", kind="sticker")
        assert (ignored.status, ignored.json["ignored_by_rule"]) == (200, {"1": 1})
        ignored = post(server, "wait=5&content=1", message_id="1", url="http://127.0.0.1:9/x", kind="sticker")
        assert ignored.status == 422


@pytest.mark.slow
def test_token_that_may_hand_over_and_not_read_cannot_wait(make_system: Make) -> None:
    system = make_system()
    new = new_token()
    token = UserToken(new.id, "importer", Role.INTAKE, parse_scope(["*"]), new.secret_hash, 1)
    system.services.catalogue.user_tokens.add(token)
    headers = {"Authorization": f"Bearer {new.text}"}
    row = json.dumps({"session": "s", "message_id": "1", "url": "http://127.0.0.1:9/x"}).encode()
    with web_server(system) as server:
        for query in ("wait=0", "wait=5&content=1"):
            refused = server.request("POST", f"/hooks/media?{query}", row, headers=headers)
            assert (refused.status, refused.code) == (403, "forbidden")
        assert server.totals()["received"] == 0
        assert server.request("POST", "/hooks/media", row, headers=headers).status == 202
