"""Uploads of a new source from the dashboard: who may, what is refused, and that nothing is left."""

from __future__ import annotations

import secrets
from collections.abc import Iterator
from urllib.parse import urlencode

import pytest

from pipeline.models import Status
from pipeline.security.roles import Role
from tests.support.catalogues import finished
from tests.support.system import RunningSystem, photo
from tests.support.users import user
from tests.support.web_server import TOKEN, Reply, WebServer, web_server

FORM = {"Content-Type": "multipart/form-data; boundary=xyz"}


@pytest.fixture
def server(system: RunningSystem) -> Iterator[WebServer]:
    with web_server(system, dashboard="true", max_upload_mb="1") as running:
        yield running


def cookie(server: WebServer, token: str) -> dict[str, str]:
    headers = {"Content-Type": "application/x-www-form-urlencoded"}
    answer = server.request("POST", "/login", urlencode({"token": token}), headers=headers)
    return {"Cookie": answer.headers["set-cookie"].partition(";")[0]}


def upload(server: WebServer, media_id: str, content: bytes, **headers: str) -> Reply:
    head = b'--xyz\r\nContent-Disposition: form-data; name="file"; filename="a.jpg"\r\n\r\n'
    body = head + content + b"\r\n--xyz--\r\n"
    return server.request("POST", f"/dashboard/sources/{media_id}", body, headers={**FORM, **headers})


def test_upload_needs_a_login_of_this_origin_that_may_replay(system: RunningSystem, server: WebServer) -> None:
    given = system.attachment(url="http://127.0.0.1:9/x", session="shop")
    mine = finished(system.services.catalogue, Status.EXPIRED, of=given).id
    done = finished(system.services.catalogue, Status.DONE, of=system.attachment(url="http://127.0.0.1:9/x")).id
    admin = cookie(server, TOKEN)
    viewer, operator = user(system, "ana", Role.VIEWER), user(system, "bob", Role.OPERATOR, "media:other")
    refusals = [
        (upload(server, mine, b"x"), 401),
        (upload(server, mine, b"x", Authorization=f"Bearer {TOKEN}"), 401),
        (upload(server, mine, b"x", Origin="https://evil.example", **admin), 403),
        (upload(server, mine, b"x", **cookie(server, viewer)), 403),
        (upload(server, mine, b"x", **cookie(server, operator)), 404),
        (upload(server, secrets.token_hex(16), b"x", **admin), 404),
        (upload(server, done, b"x", **admin), 409),
        (upload(server, mine, bytes(1_200_000), **admin), 413),
        (server.request("POST", f"/dashboard/sources/{mine}", b"--xyz--\r\n", headers={**FORM, **admin}), 400),
        (server.request("POST", f"/dashboard/sources/{mine}", b"{}", headers={**FORM, **admin}), 400),
    ]
    assert [(answer.status, expected) for answer, expected in refusals if answer.status != expected] == []
    assert system.record(mine).status is Status.EXPIRED
    folder = system.settings.staging
    assert not folder.exists() or list(folder.iterdir()) == []
    accepted = upload(server, mine, photo(), **admin)
    assert accepted.status == 202, accepted.body
    assert system.record(mine).status is Status.RECEIVED
