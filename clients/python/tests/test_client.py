"""What the client does with each answer of the server, or without one."""

from __future__ import annotations

import asyncio
import json
import os
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from esteira_client import (
    AsyncClient,
    Client,
    ConflictError,
    EsteiraError,
    ForbiddenError,
    MessageError,
    NotFoundError,
    OptionError,
    RefusedError,
    SpoolFullError,
    SpoolOptions,
    TooLargeError,
    UnauthorizedError,
    UnavailableError,
)
from fake_server import TOKEN, FakeServer

MESSAGE = {"message_id": "m1", "url": "https://media.example/x", "kind": "image"}
NOBODY = "http://127.0.0.1:9"


def wait_until(condition: Callable[[], Any], within_s: float = 20) -> None:
    deadline = time.monotonic() + within_s
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.02)


def entries(folder: Path) -> list[Path]:
    return sorted(folder.glob("*.json"))


def test_accepted_message_has_the_id_of_the_server(server: FakeServer, folder: Path) -> None:
    with Client(server.url, TOKEN, spool=folder) as client:
        receipt = client.process_media(MESSAGE, "shop")
    assert (receipt.mode, receipt.id, receipt.status, receipt.reason) == ("accepted", "a" * 32, "received", None)
    [request] = server.requests
    assert (request["path"], request["headers"]["authorization"]) == ("/hooks/media", f"Bearer {TOKEN}")
    assert not folder.exists()


def test_ignored_message_has_no_id(server: FakeServer, folder: Path) -> None:
    server.answer(202, {"accepted": [], "ignored": 1})
    with Client(server.url, TOKEN, spool=folder) as client:
        receipt = client.process_media(MESSAGE, "shop")
    assert (receipt.mode, receipt.id, receipt.message_id) == ("ignored", None, "m1")


@pytest.mark.parametrize(
    ("status", "kind"),
    [
        (400, RefusedError),
        (401, UnauthorizedError),
        (403, ForbiddenError),
        (404, NotFoundError),
        (409, ConflictError),
        (413, TooLargeError),
    ],
)
def test_refusal_is_raised_and_not_spooled(
    server: FakeServer, folder: Path, status: int, kind: type[EsteiraError]
) -> None:
    server.refuse(status, "the_code")
    with Client(server.url, TOKEN, spool=folder) as client, pytest.raises(kind) as caught:
        client.process_media(MESSAGE, "shop")
    assert (caught.value.status, caught.value.code) == (status, "the_code")
    assert TOKEN not in repr(caught.value)
    assert not entries(folder)


@pytest.mark.parametrize(
    ("status", "body", "reason"),
    [
        (503, {"error": {"code": "catalogue", "message": "away"}}, "catalogue"),
        (429, {"error": {"code": "too_many_requests", "message": "slow"}}, "too_many_requests"),
        (408, b"", "bad_reply"),
        (502, b"<html>", "bad_reply"),
        (404, b"404 page not found", "bad_reply"),
        (200, b"<html>", "bad_reply"),
        (200, {"ok": True}, "bad_reply"),
    ],
)
def test_answer_for_now_is_spooled(server: FakeServer, folder: Path, status: int, body: Any, reason: str) -> None:
    server.answer(status, body)
    with Client(server.url, TOKEN, spool=folder) as client:
        receipt = client.process_media(MESSAGE, "shop")
    assert (receipt.mode, receipt.reason) == ("spooled", reason)
    assert len(entries(folder)) == 1


def test_redirect_is_refused(server: FakeServer, folder: Path) -> None:
    server.answer(301, b"", Location="http://127.0.0.1:1/")
    with Client(server.url, TOKEN, spool=folder) as client, pytest.raises(RefusedError) as caught:
        client.process_media(MESSAGE, "shop")
    assert caught.value.code == "redirected"


def test_hand_over_waits_no_longer_than_its_timeout(server: FakeServer, folder: Path) -> None:
    server.delay_s = 5
    with Client(server.url, TOKEN, spool=folder, timeout=0.2) as client:
        began = time.monotonic()
        receipt = client.process_media(MESSAGE, "shop")
        took = time.monotonic() - began
        assert (receipt.mode, receipt.reason) == ("spooled", "timeout")
        assert client.process_media(MESSAGE, "shop").mode == "spooled"  # does not ask again
    assert took < 4
    assert len(server.requests) == 1


def test_spooled_messages_are_sent_in_order_when_the_server_is_back(server: FakeServer, folder: Path) -> None:
    server.refuse(503, "catalogue")
    with Client(server.url, TOKEN, spool=folder) as client:
        ids = [client.process_media({**MESSAGE, "message_id": f"m{number}"}, "shop").id for number in range(30)]
        assert len(set(ids)) == 30
        before = len(server.requests)
        server.answer(202)
        assert client.flush(20)
    names = [body["message_id"] for body in server.bodies()[before:]]
    assert names[-30:] == [f"m{number}" for number in range(30)]


def test_next_client_sends_what_the_last_one_has_left(server: FakeServer, folder: Path) -> None:
    with Client(NOBODY, TOKEN, spool=folder) as client:
        receipt = client.process_media({"message_id": "m1"}, "shop", file=b"bytes")
        assert (receipt.mode, receipt.reason) == ("spooled", "unreachable")
    with Client(server.url, TOKEN, spool=folder):
        wait_until(lambda: not entries(folder))
    [request] = server.requests
    assert request["headers"]["content-type"].startswith("multipart/form-data")
    assert b"bytes" in request["body"]
    assert not list(folder.glob("*.bin"))


def test_entry_that_is_refused_for_good_is_moved_aside_and_reported(server: FakeServer, folder: Path) -> None:
    with Client(NOBODY, TOKEN, spool=folder) as client:
        spooled = client.process_media(MESSAGE, "shop")
        client.process_media({**MESSAGE, "message_id": "m2"}, "shop")
    server.refuse(400, "bad_payload")
    server.then(202)
    reports: list[tuple[str, str | None]] = []
    with Client(
        server.url, TOKEN, spool=folder, on_error=lambda error, media_id: reports.append((error.code, media_id))
    ):
        wait_until(lambda: not entries(folder))
    assert reports == [("bad_payload", spooled.id)]
    assert len(entries(folder / "aside")) == 1


def test_damaged_and_old_entries_are_moved_aside_and_reported(server: FakeServer, folder: Path) -> None:
    with Client(NOBODY, TOKEN, spool=folder) as client:
        for number in range(3):
            client.process_media({**MESSAGE, "message_id": f"m{number}"}, "shop")
    damaged, old, _ = entries(folder)
    damaged.write_text(damaged.read_text()[:50])
    old.write_text(json.dumps(json.loads(old.read_text()) | {"at": 0}))
    reports: list[str] = []
    with Client(server.url, TOKEN, spool=folder, on_error=lambda error, _: reports.append(error.code)):
        wait_until(lambda: not entries(folder))
    assert reports == ["spool_damaged", "spool_expired"]
    assert [body["message_id"] for body in server.bodies()] == ["m2"]


def test_wrong_token_keeps_the_spool_and_is_reported_once(server: FakeServer, folder: Path) -> None:
    with Client(NOBODY, TOKEN, spool=folder) as client:
        client.process_media(MESSAGE, "shop")
        client.process_media({**MESSAGE, "message_id": "m2"}, "shop")
    server.refuse(401, "unauthorized")
    reports: list[str] = []
    with Client(server.url, TOKEN, spool=folder, on_error=lambda error, _: reports.append(error.code)) as client:
        wait_until(lambda: reports)
        with pytest.raises(UnauthorizedError):
            client.process_media(MESSAGE, "shop")
    assert (reports, len(server.requests), len(entries(folder))) == (["unauthorized"], 2, 2)


def test_entry_that_the_server_cannot_process_blocks_no_other(server: FakeServer, folder: Path) -> None:
    with Client(NOBODY, TOKEN, spool=folder) as client:
        for number in range(3):
            client.process_media({**MESSAGE, "message_id": f"m{number}"}, "shop")
    server.refuse(503, "internal")
    server.answers *= 3
    server.then(202)
    with Client(server.url, TOKEN, spool=folder):
        wait_until(lambda: not entries(folder))
    sent = [body["message_id"] for body in server.bodies()]
    assert sent == ["m0", "m0", "m0", "m1", "m2", "m0"]


def test_fallback_is_called_where_nothing_can_be_spooled(folder: Path) -> None:
    calls: list[Any] = []

    def fallback(message: Any, session: str | None, error: EsteiraError) -> str:
        calls.append((message, session, error.code))
        return "stored by the listener"

    with Client(NOBODY, TOKEN, spool=SpoolOptions(folder, max_entries=1), fallback=fallback) as client:
        assert client.process_media(MESSAGE, "shop").mode == "spooled"
        receipt = client.process_media(MESSAGE, "shop")
    assert (receipt.mode, receipt.reason, receipt.result) == ("fallback", "spool_full", "stored by the listener")
    assert calls == [(MESSAGE, "shop", "spool_full")]

    async def run() -> Any:
        async def later(*_: Any) -> str:
            return "stored later"

        async with AsyncClient(NOBODY, TOKEN, spool=False, fallback=later) as client:
            return await client.process_media(MESSAGE, "shop")

    receipt = asyncio.run(run())
    assert (receipt.mode, receipt.reason, receipt.result) == ("fallback", "unreachable", "stored later")


def test_without_spool_and_fallback_the_error_is_raised(folder: Path) -> None:
    with Client(NOBODY, TOKEN, spool=False) as client, pytest.raises(UnavailableError) as caught:
        client.process_media(MESSAGE, "shop")
    assert (caught.value.code, caught.value.status) == ("unreachable", None)
    with Client(NOBODY, TOKEN, spool=SpoolOptions(folder, max_entries=1)) as client:
        client.process_media(MESSAGE, "shop")
        with pytest.raises(SpoolFullError):
            client.process_media(MESSAGE, "shop")


def test_retry_after_is_kept(server: FakeServer, folder: Path) -> None:
    server.refuse(429, "too_many_requests", Retry_After="60")
    with Client(server.url, TOKEN, spool=False) as client, pytest.raises(UnavailableError) as caught:
        client.process_media(MESSAGE, "shop")
    assert caught.value.retry_after == 60
    with Client(server.url, TOKEN, spool=folder) as client:
        client.process_media(MESSAGE, "shop")
        time.sleep(0.6)
        assert client.process_media(MESSAGE, "shop").reason == "too_many_requests"
    assert len(server.requests) == 2  # neither the sender nor the second hand-over asks meanwhile


def test_content_that_ends_early_is_an_error(server: FakeServer) -> None:
    name = "attachment; filename*=UTF-8''nota%20s%C3%A3o.pdf"
    server.answer(200, b"half", Content_Length="8", Content_Disposition=name)
    with Client(server.url, TOKEN, spool=False) as client, client.content("a" * 32) as content:
        assert (content.size, content.name) == (8, "nota são.pdf")
        with pytest.raises(UnavailableError):
            content.read()


def test_content_of_the_object_store_is_fetched_without_the_token(server: FakeServer) -> None:
    server.answer(307, b"", Location=f"http://localhost:{server.port}/store?signature=x")
    server.then(200, b"the bytes", Content_Type="image/jpeg")
    with Client(server.url, TOKEN, spool=False) as client, client.content("a" * 32) as content:
        assert (content.read(), content.mime) == (b"the bytes", "image/jpeg")
    first, second = server.requests
    assert "authorization" in first["headers"]
    assert "authorization" not in second["headers"]


@pytest.mark.parametrize(
    "options",
    [
        {"url": "ftp://host"},
        {"url": "http://user:password@host"},
        {"url": "http://host:port"},
        {"timeout": 0},
        {"token": ""},
        {"token": "a-secret\n"},
    ],
)
def test_wrong_options_are_named_without_secrets(options: dict[str, Any], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("API_TOKEN", raising=False)
    with pytest.raises(OptionError) as caught:
        Client(**{"token": TOKEN, "spool": False, **options})
    assert "password@" not in str(caught.value)
    assert "a-secret" not in str(caught.value)


def test_error_of_the_listener_does_not_end_the_sending(server: FakeServer, folder: Path) -> None:
    with Client(NOBODY, TOKEN, spool=folder) as client:
        client.process_media(MESSAGE, "shop")
        client.process_media({**MESSAGE, "message_id": "m2"}, "shop")
    server.refuse(400, "bad_payload")
    server.then(202)

    def on_error(*_: Any) -> None:
        raise RuntimeError

    with Client(server.url, TOKEN, spool=folder, on_error=on_error) as client:
        assert client.flush(20)
    assert len(server.requests) == 2


def test_message_without_media_is_ignored_without_a_request(server: FakeServer, folder: Path) -> None:
    with Client(server.url, TOKEN, spool=folder) as client:
        assert client.process_media({"id": "3EB0", "type": "chat", "body": "Oi"}, "shop").mode == "ignored"
    assert not server.requests


def test_wrong_message_is_not_sent(server: FakeServer) -> None:
    with Client(server.url, TOKEN, spool=False) as client, pytest.raises(MessageError):
        client.process_media({"message_id": "m1"}, "shop")
    assert not server.requests


def test_client_works_after_a_fork(server: FakeServer, folder: Path) -> None:
    with Client(server.url, TOKEN, spool=folder) as client:
        client.process_media(MESSAGE, "shop")
        child = os.fork()
        if not child:
            os._exit(client.process_media(MESSAGE, "shop").mode != "accepted")
        assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
        assert client.process_media(MESSAGE, "shop").mode == "accepted"
