"""Files whose source is gone, and gateways that are asked for them: real workers, a real Valkey, stand-ins for servers.

CHECKS row HOOK-15.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from actors.hook import Receipt
from pipeline.models import Record, Status
from tests.support.gateway_servers import EvolutionServer, GowaServer, WahaServer, WppconnectServer, json_answer
from tests.support.hostile_server import HostileServer, Script
from tests.support.media_server import Answer, MediaServer
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


def hostile_end(
    make_system: MakeSystem, gone: MediaServer, script: Script, **fields: Any
) -> tuple[Record, RunningSystem]:
    """The ending of an attachment whose Evolution API runs this script."""
    with HostileServer(script) as gateway:
        system = make_system(**QUICK, **settings_of("evolution", gateway.url("")))
        media_id = submit_gone(system, gone, **fields).id
        with system.workers():
            [record] = system.wait_finished(media_id)
    assert system.stored_files() == []
    assert [name for name in system.staged_files() if name.startswith(media_id)] == []
    return record


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
    with server_of("wppconnect") as server:
        server.messages[MESSAGE["wppconnect"]] = ("image/jpeg", content)
        name = f"api/shop/get-media-by-message/{MESSAGE['wppconnect']}"
        refused = [True, True]

        def reply(request: Any, path: str) -> Answer | None:
            if refused:
                refused.pop()
                return json_answer(500, {"status": "error", "message": "The session is not active"})
            return WppconnectServer.reply(server, request, path)  # type: ignore[arg-type]

        server.reply = reply  # type: ignore[method-assign]
        assert name
        system = make_system(**QUICK, **settings_of("wppconnect", server.base))
        media_id = submit_gone(system, gone, "wppconnect").id
        with system.workers():
            [record] = system.wait_finished(media_id)
    assert record.status is Status.DONE
    assert [outcome for outcome, *_ in outcomes(system, media_id)] == ["asks_gateway", "retry", "retry", "done"]
