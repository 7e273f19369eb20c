"""Files whose source is gone, and gateways that are asked for them: real workers and Valkey, stand-ins for servers."""

from __future__ import annotations

import base64
import hashlib
import json
import threading
import time
from collections.abc import Callable, Iterator
from itertools import pairwise
from typing import Any
from urllib.parse import quote

import pytest

from actors.execution.inline import run_inline
from actors.hook import Receipt
from pipeline.models import Status
from tests.support.gateway_servers import EvolutionServer, GowaServer, WahaServer, WppconnectServer, json_answer
from tests.support.hostile_server import HostileServer, Peer, Script, floods, head, says, stalls
from tests.support.media_server import Answer, MediaServer, Request
from tests.support.system import RunningSystem, photo

GatewayServer = EvolutionServer | GowaServer | WahaServer | WppconnectServer
MakeSystem = Callable[..., RunningSystem]
KEY = "a-user:a-key-of-the-gateway"
KEY_NAMES = {
    "evolution": "EVOLUTION_API_KEY",
    "waha": "WAHA_API_KEY",
    "wppconnect": "WPPCONNECT_TOKEN",
    "gowa": "GOWA_AUTH",
}
NAMES = {"evolution": "Evolution API", "waha": "WAHA", "wppconnect": "WPPConnect Server", "gowa": "GOWA"}
SERVERS: dict[str, type[GatewayServer]] = {
    "evolution": EvolutionServer,
    "waha": WahaServer,
    "wppconnect": WppconnectServer,
    "gowa": GowaServer,
}
MESSAGE = {
    "evolution": "3EB0A1",
    "gowa": "3EB0A1",
    "waha": "false_5511999990000@c.us_3EB0A1",
    "wppconnect": "false_5511999990000@c.us_3EB0A1",
}
QUICK = {"REUPLOAD": "gateway", "REUPLOAD_PER_MINUTE": "60000", "MEDIA_BACKOFF_MS": "20", "REUPLOAD_TIMEOUT_S": "1"}
AWAY = head("Location: http://169.254.169.254/", status="302 Found")
HTML = b"<!doctype html><html><form action=/login><input type=password></form></html>"


@pytest.fixture
def gone() -> Iterator[MediaServer]:
    """A media server that has no file any more."""
    with MediaServer() as server:
        server.answers["gone"] = Answer(410)
        yield server


def settings_of(gateway: str, base: str) -> dict[str, str]:
    return {f"{gateway.upper()}_URL": base, KEY_NAMES[gateway]: KEY}


def server_of(gateway: str) -> GatewayServer:
    return SERVERS[gateway](KEY)


def submit_gone(system: RunningSystem, gone: MediaServer, gateway: str = "evolution", **fields: Any) -> Receipt:
    """Hands over an attachment of this gateway whose source answers 410."""
    declared = {"gateway": gateway, "session": "shop", "message_id": MESSAGE[gateway], "chat": "5511999990000@c.us"}
    return system.submit(**{**declared, "kind": "image", "url": gone.url("gone"), **fields})


def outcomes(system: RunningSystem, media_id: str) -> list[tuple[str, int, str]]:
    """The attempts at fetch: outcome, number and error code."""
    entries = [entry for entry in system.services.catalogue.history(media_id) if entry.stage == "fetch"]
    return [(entry.outcome.value, entry.attempt, entry.code or "") for entry in entries]


@pytest.mark.parametrize("gateway", sorted(SERVERS))
def test_file_whose_source_is_gone_comes_from_its_gateway(
    gateway: str, make_system: MakeSystem, gone: MediaServer
) -> None:
    content = photo()
    with server_of(gateway) as server:
        server.messages[MESSAGE[gateway]] = ("image/jpeg", content)
        system = make_system(**QUICK, **settings_of(gateway, server.base))
        media_id = submit_gone(system, gone, gateway, file_sha256=hashlib.sha256(content).hexdigest()).id
        with system.workers():
            [record] = system.wait_finished(media_id)
    assert (record.status, record.sha256) == (Status.DONE, hashlib.sha256(content).hexdigest())
    assert outcomes(system, media_id) == [("asks_gateway", 1, "source_gone"), ("done", 1, "")]
    last = [entry for entry in system.services.catalogue.history(media_id) if entry.stage == "fetch"][-1]
    assert last.message == f"127.0.0.1 answers 410; {NAMES[gateway]} has the file"
    assert gone.hits("gone") == 1


def test_gateway_is_not_asked_unless_the_settings_say_so(make_system: MakeSystem, gone: MediaServer) -> None:
    with server_of("evolution") as server:
        system = make_system(**settings_of("evolution", server.base))
        media_id = submit_gone(system, gone).id
        with system.workers():
            [record] = system.wait_finished(media_id)
        assert (record.status, record.error_code, server.requests) == (Status.EXPIRED, "source_gone", [])


def test_gateway_without_the_file_ends_the_attachment_as_expired_with_its_words(
    make_system: MakeSystem, gone: MediaServer
) -> None:
    with server_of("evolution") as server:
        system = make_system(**QUICK, **settings_of("evolution", server.base))
        media_id = submit_gone(system, gone).id
        with system.workers():
            [record] = system.wait_finished(media_id)
        assert len(server.requests) == 1
    assert (record.status, record.error_code) == (Status.EXPIRED, "source_gone")
    assert record.error is not None
    assert "answers 410; Evolution API answers 400: Message not found" in record.error
    assert "DATABASE_SAVE_DATA_NEW_MESSAGE" in record.error


def test_failing_gateway_is_asked_in_attempts_of_its_own(make_system: MakeSystem, gone: MediaServer) -> None:
    with MediaServer() as server:
        failing = json_answer(500, {"message": f"no connection, key {KEY}"})
        server.answers["chat/getBase64FromMediaMessage/shop"] = failing
        system = make_system(**QUICK, **settings_of("evolution", server.url("")[:-1]))
        media_id = submit_gone(system, gone).id
        with system.workers() as workers:
            [record] = system.wait_finished(media_id)
        assert len(server.requests) == 3
    assert gone.hits("gone") == 1
    assert (record.status, record.error_code) == (Status.EXPIRED, "source_gone")
    assert outcomes(system, media_id) == [
        ("asks_gateway", 1, "source_gone"),
        ("retry", 1, "fetch_unavailable"),
        ("retry", 2, "fetch_unavailable"),
        ("expired", 3, "fetch_unavailable"),
    ]
    assert record.error is not None
    assert "Evolution API answers 500: no connection, key [hidden]" in record.error
    assert KEY not in workers.log.read_text()


def test_gateway_that_answers_after_a_failure_delivers_the_file(make_system: MakeSystem, gone: MediaServer) -> None:
    content = photo()
    with MediaServer() as server:
        inactive = json_answer(500, {"status": "error", "message": "The session is not active"})
        file = json_answer(200, {"base64": base64.b64encode(content).decode(), "mimetype": "image/jpeg"})
        path = f"api/shop/get-media-by-message/{quote(MESSAGE['wppconnect'], safe='')}"
        server.answers[path] = [inactive, inactive, file]
        system = make_system(**QUICK, **settings_of("wppconnect", server.url("")[:-1]))
        media_id = submit_gone(system, gone, "wppconnect").id
        with system.workers():
            [record] = system.wait_finished(media_id)
    assert record.status is Status.DONE
    assert [outcome for outcome, *_ in outcomes(system, media_id)] == ["asks_gateway", "retry", "retry", "done"]


@pytest.mark.parametrize(
    ("script", "status", "code"),
    [
        pytest.param(stalls(), Status.EXPIRED, "source_gone", id="no-answer"),
        pytest.param(says(head(), HTML), Status.EXPIRED, "source_gone", id="login-page"),
        pytest.param(floods(head() + b'{"base64":"', b"QUJD" * 65536), Status.REJECTED, "too_large", id="endless-file"),
        pytest.param(
            says(head("Location: http://169.254.169.254/", status="302 Found")),
            Status.EXPIRED,
            "source_gone",
            id="away",
        ),
    ],
)
def test_hostile_gateway_ends_the_attachment_and_stores_nothing(
    script: Script, status: Status, code: str, make_system: MakeSystem, gone: MediaServer
) -> None:
    with HostileServer(script) as gateway:
        system = make_system(**QUICK, **settings_of("evolution", gateway.url("")))
        media_id = submit_gone(system, gone).id
        with system.workers():
            [record] = system.wait_finished(media_id)
    assert (record.status, record.error_code) == (status, code)
    assert system.stored_files() == []
    assert [name for name in system.staged_files() if name.startswith(media_id)] == []


def test_another_file_than_the_declared_one_is_not_stored(make_system: MakeSystem, gone: MediaServer) -> None:
    with server_of("evolution") as server:
        server.messages[MESSAGE["evolution"]] = ("image/jpeg", photo())
        system = make_system(**QUICK, **settings_of("evolution", server.base))
        media_id = submit_gone(system, gone, file_sha256=hashlib.sha256(b"the file").hexdigest()).id
        with system.workers():
            [record] = system.wait_finished(media_id)
    assert (record.status, record.error_code) == (Status.EXPIRED, "source_gone")
    assert record.error is not None
    assert "does not have the hash that the message declares" in record.error
    assert system.stored_files() == []


def test_killed_worker_loses_no_attachment_while_it_asks(make_system: MakeSystem, gone: MediaServer) -> None:
    content = photo()
    asked = threading.Event()

    def first_never_answers(peer: Peer) -> None:
        peer.request()
        asked.set()
        peer.wait()

    body = json.dumps({"base64": base64.b64encode(content).decode()}).encode()
    answers = says(head(f"Content-Length: {len(body)}", status="201 Created"), body)
    with HostileServer([first_never_answers, answers]) as gateway:
        system = make_system(**QUICK | {"REUPLOAD_TIMEOUT_S": "60"}, **settings_of("evolution", gateway.url("")))
        media_id = submit_gone(system, gone).id
        with system.workers() as workers:
            assert asked.wait(30)
            workers.kill()
        system.reap_dead_workers()
        with system.workers():
            [record] = system.wait_finished(media_id, within_s=60)
    assert (record.status, record.sha256) == (Status.DONE, hashlib.sha256(content).hexdigest())
    assert gone.hits("gone") == 1


def test_replay_of_an_expired_attachment_asks_the_gateway(make_system: MakeSystem, gone: MediaServer) -> None:
    with server_of("waha") as server:
        system = make_system(**QUICK, **settings_of("waha", server.base))
        media_id = submit_gone(system, gone, "waha").id
        with system.workers():
            assert system.wait_finished(media_id)[0].status is Status.EXPIRED
            server.messages[MESSAGE["waha"]] = ("image/jpeg", photo())
            assert system.services.catalogue.reopen(media_id)
            system.sweep()
            [record] = system.wait_finished(media_id)
    assert (record.status, record.run) == (Status.DONE, 1)


def test_listener_without_redis_leaves_the_gateway_to_the_workers(make_system: MakeSystem, gone: MediaServer) -> None:
    with server_of("evolution") as server:
        server.messages[MESSAGE["evolution"]] = ("image/jpeg", photo())
        system = make_system(**QUICK, **settings_of("evolution", server.base))
        attachment = system.attachment(
            gateway="evolution", session="shop", message_id=MESSAGE["evolution"], url=gone.url("gone"), kind="image"
        )
        media_id = system.services.catalogue.accept(attachment).id
        run_inline(system.services, media_id)
        assert (system.record(media_id).status, server.requests) == (Status.RECEIVED, [])
        assert [outcome for outcome, *_ in outcomes(system, media_id)] == ["asks_gateway"]
        system.sweep()
        with system.workers():
            assert system.wait_finished(media_id)[0].status is Status.DONE


def test_batch_of_expired_files_is_asked_for_at_the_pace(make_system: MakeSystem, gone: MediaServer) -> None:
    """All processes share the pace: the requests come one after another, in spite of eight free threads."""
    with MediaServer() as server:
        times = answer_and_note_times(server)
        pace = {"REUPLOAD_PER_MINUTE": "60"}
        system = make_system(**QUICK | pace, **settings_of("evolution", server.url("")[:-1]))
        ids = [submit_gone(system, gone, message_id=f"m{number}").id for number in range(4)]
        with system.workers(processes=2):
            records = system.wait_finished(*ids, within_s=60)
    assert {record.status for record in records} == {Status.DONE}
    assert len(times) == 4
    assert all(later - earlier > 0.8 for earlier, later in pairwise(times))
    assert gone.hits("gone") == 4


def answer_and_note_times(server: MediaServer) -> list[float]:
    """Makes the server an Evolution API that has every file; returns a list that gets the time of each request."""
    times: list[float] = []

    def reply(_: Request, __: str) -> Answer:
        times.append(time.monotonic())
        return json_answer(201, {"base64": base64.b64encode(photo()).decode()})

    server.reply = reply  # type: ignore[method-assign]
    return times
