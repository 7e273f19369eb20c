"""`python -m esteira.web`: how it starts, whom it trusts, and how it shuts down while there is no queue."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import time
from collections.abc import Callable

import pytest

from pipeline.models import Status
from tests.support.gateway_senders import PATH_SECRET
from tests.support.media_server import MediaServer
from tests.support.system import ROOT, RunningSystem, photo
from tests.support.valkey import ValkeyServer, free_port
from tests.support.waiting import wait_until
from tests.support.web_server import WebServer, web_server

GOOD = {"session": "s", "message_id": "m1", "url": "http://127.0.0.1:9/file", "kind": "image"}
OPEN = {"allow_unsigned_hooks": "true"}
TERMINATED = -signal.SIGTERM  # uvicorn shuts down, and then ends itself with the signal
UVICORN = ("uvicorn", "esteira.web.app:app", "--port", "{port}")


def unsigned(server: WebServer, **headers: str) -> int:
    return server.request("POST", "/hooks/media", json.dumps(GOOD).encode(), headers=headers).status


def old_proxy(server: WebServer) -> bytes:
    """The response to a proxy with old defaults: HTTP/1.0, without any forwarding header."""
    with server.connect() as connection:
        body = json.dumps(GOOD)
        head = f"POST /hooks/media HTTP/1.0\r\nHost: 127.0.0.1:{server.port}\r\nContent-Length: {len(body)}\r\n\r\n"
        connection.sendall((head + body).encode())
        return connection.recv(4096)


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "192.0.2.1", "example.org"])
def test_unsigned_hooks_need_a_loopback_address(system: RunningSystem, host: str) -> None:
    finished = subprocess.run(
        [sys.executable, "-m", "esteira.web", "--host", host],
        cwd=ROOT,
        env=system.env | {"ALLOW_UNSIGNED_HOOKS": "true", "PORT": str(free_port())},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert finished.returncode == 2
    assert finished.stderr.count("\n") == 1
    assert "ALLOW_UNSIGNED_HOOKS" in finished.stderr


@pytest.mark.parametrize("command", [("esteira.web",), UVICORN])
def test_unsigned_hooks_accept_local_but_not_forwarded_requests(
    system: RunningSystem, command: tuple[str, ...]
) -> None:
    with web_server(system, *command, **OPEN) as server:
        assert unsigned(server) == 202
        for name in ("X-Forwarded-For", "Forwarded", "X-Real-IP", "Via", "CF-Connecting-IP", "X-Forwarded-Host"):
            assert unsigned(server, **{name: "127.0.0.1"}) == 401
        assert unsigned(server, Host="localhost") == unsigned(server, Host="[::1]:8000") == 202
        for name in (
            "hooks.example.org",
            "127.0.0.1.example.org",
            "127.0.0.1:80@example.org",
            "192.0.2.1:8000",
            "[",
            "",
        ):
            assert unsigned(server, Host=name) == 401
        assert unsigned(server, Origin="https://example.org") == 401, "a page in a browser is not this machine"
        assert old_proxy(server).startswith(b"HTTP/1.1 401")
        assert server.request("GET", "/stats").status == 401
        assert "ALLOW_UNSIGNED_HOOKS" in server.log_text()


def test_uvicorn_command_logs_no_secret_in_a_path(system: RunningSystem) -> None:
    with web_server(system, *UVICORN) as server:
        body = json.dumps({"event": "onmessage", "session": "w", "id": "1", "type": "chat"}).encode()
        assert server.request("POST", f"/hooks/wppconnect/{PATH_SECRET}", body).status == 202
        assert server.request("GET", "/hooks/cloud?hub.verify_token=a-guess").status == 403
        assert server.terminate() == TERMINATED
    assert PATH_SECRET not in server.log_text()
    assert "a-guess" not in server.log_text()


def test_missing_hook_secret_is_logged_once_a_minute(system: RunningSystem) -> None:
    with web_server(system, waha_hmac_key="", cloud_verify_token="") as server:
        for _ in range(5):
            assert server.request("POST", "/hooks/waha", b"{}").status == 401
            assert server.request("GET", "/hooks/cloud?hub.mode=subscribe&hub.verify_token=").status == 403
        assert server.log_text().count("WAHA_HMAC_KEY") == 1
        assert server.log_text().count("CLOUD_VERIFY_TOKEN") == 1


def test_wrong_hook_secret_is_logged_once_a_minute(system: RunningSystem) -> None:
    with web_server(system) as server:
        for _ in range(5):
            assert server.request("POST", "/hooks/wppconnect/a-guess", b"{}").status == 401
            assert server.request("POST", "/hooks/waha", b"{}").status == 401
            assert server.request("POST", "/hooks/wppconnect", b"{}").status == 401
        assert server.log_text().count("hook refused: the secret is wrong") == 1
        assert server.log_text().count("hook refused: no secret was sent") == 2
        assert "a-guess" not in server.log_text()


def test_hooks_tell_apart_missing_wrong_and_unset_secrets(system: RunningSystem) -> None:
    guesses: dict[str, dict[str, str]] = {
        "wppconnect": {"X-Webhook-Secret": "a-guess"},
        "evolution": {"Authorization": "Bearer a-guess"},
        "waha": {"X-Webhook-Hmac": "ab" * 64, "X-Webhook-Timestamp": str(int(time.time() * 1000))},
        "gowa": {"X-Hub-Signature-256": "sha256=" + "ab" * 32},
        "cloud": {"X-Hub-Signature-256": "sha256=" + "ab" * 32},
        "media": {"Authorization": "Bearer a-guess"},
    }

    def refusal(server: WebServer, gateway: str, headers: dict[str, str]) -> dict[str, str]:
        answer = server.request("POST", f"/hooks/{gateway}", b"{}", headers=headers)
        assert answer.status == 401
        assert answer.json["error"]["code"] == "unauthorized"
        assert "a-guess" not in answer.json["error"]["message"]
        error: dict[str, str] = answer.json["error"]
        return error

    with web_server(system) as server:
        for gateway, headers in guesses.items():
            missing, wrong = refusal(server, gateway, {}), refusal(server, gateway, headers)
            assert (missing["reason"], wrong["reason"]) == ("missing", "wrong")
            [header, *_] = headers
            assert header in missing["message"]
            assert header in wrong["message"]
    names = ["wppconnect_secret", "evolution_secret", "waha_hmac_key", "gowa_webhook_secret", "cloud_app_secret"]
    names.append("api_token")
    with web_server(system, evolution_jwt_key="", **dict.fromkeys(names, "")) as server:
        for (gateway, headers), name in zip(guesses.items(), names, strict=True):
            unset = refusal(server, gateway, headers)
            assert unset["reason"] == "not_set"
            assert name.upper() in unset["message"]


@pytest.fixture
def away(make_system: Callable[..., RunningSystem]) -> RunningSystem:
    """A system whose Redis does not answer."""
    return make_system().with_redis(f"redis://127.0.0.1:{free_port()}/0")


def test_hook_does_not_wait_for_background_processing_without_redis(away: RunningSystem) -> None:
    photos = {f"{number}.jpg": photo() for number in range(6)}
    with MediaServer(photos, delay_s=2) as media, web_server(away, fallback_concurrency="3") as server:
        first = server.post_media({**GOOD, "message_id": "first", "url": media.url("0.jpg")}).json["accepted"][0]
        away.wait_finished(first["id"])
        began = time.monotonic()
        rows = [{**GOOD, "message_id": name, "url": media.url(name)} for name in photos]
        answers = [server.post_media(row).json["accepted"][0] for row in rows]
        assert time.monotonic() - began < 2
        assert {answer["status"] for answer in answers} == {"received"}

        def done() -> int:
            return sum(away.record(answer["id"]).status is Status.DONE for answer in answers)

        wait_until(lambda: done() == 3, 30)
        time.sleep(1)
        assert done() == 3, "attachments beyond FALLBACK_CONCURRENCY wait for the requeue scan"
        assert len(away.stored_files()) == 3


def test_shutdown_waits_for_background_processing(away: RunningSystem) -> None:
    with MediaServer({"a.jpg": photo()}, delay_s=2) as media, web_server(away) as server:
        taken = server.post_media({**GOOD, "url": media.url("a.jpg")}).json["accepted"][0]
        wait_until(lambda: media.hits("a.jpg"), 10)
        assert server.terminate() == TERMINATED
        assert away.record(taken["id"]).status is Status.DONE
        assert "Traceback" not in server.log_text()


def test_shutdown_leaves_slow_attachments_to_the_workers(
    make_system: Callable[..., RunningSystem], valkey: ValkeyServer
) -> None:
    system = make_system(claim_lease_s="2", media_backoff_ms="50")
    elsewhere = system.with_redis(f"redis://127.0.0.1:{free_port()}/0")
    with MediaServer({"a.jpg": photo()}, delay_s=14) as media:
        with web_server(elsewhere) as server:
            taken = server.post_media({**GOOD, "url": media.url("a.jpg")}).json["accepted"][0]
            wait_until(lambda: media.hits("a.jpg"), 10)
            began = time.monotonic()
            assert server.terminate() == TERMINATED
            assert 9 < time.monotonic() - began < 14
            assert "left to the workers" in server.log_text()
        media.delay_s = 0
        time.sleep(2.1)  # its claim's lease
        assert system.sweep() == 1
        with system.workers():
            [record] = system.wait_finished(taken["id"])
        assert record.status is Status.DONE
