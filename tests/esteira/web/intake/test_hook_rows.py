"""Hostile requests to the hooks of a running app: two processes, a real Valkey, a real catalogue."""

from __future__ import annotations

import gzip
import hashlib
import hmac
import json
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings

from pipeline.catalogue import Filters
from pipeline.gateways import GATEWAYS
from tests.support.gateway_senders import (
    CLOUD_SECRET,
    GOWA_SECRET,
    PATH_SECRET,
    SENDERS,
    WAHA_KEY,
    hub_signature,
    waha_signature,
)
from tests.support.json_shapes import ANY_JSON
from tests.support.system import RunningSystem
from tests.support.valkey import ValkeyServer, running_valkey
from tests.support.web_server import SECRETS, TOKEN, WebServer, web_server

PER_MINUTE = 150
GOOD = {"session": "s", "message_id": "m1", "url": "http://127.0.0.1:9/file", "kind": "image"}
SIGNATURES = {  # by gateway: its header, algorithm and secret
    "waha": ("X-Webhook-Hmac", "sha512", WAHA_KEY),
    "gowa": ("X-Hub-Signature-256", "sha256", GOWA_SECRET),
    "cloud": ("X-Hub-Signature-256", "sha256", CLOUD_SECRET),
}
SIGNED = {name: sender.authenticate for name, sender in SENDERS.items() if sender.signs_body}


@pytest.fixture(scope="module")
def queue() -> Iterator[ValkeyServer]:
    with running_valkey() as server:
        yield server


@pytest.fixture(scope="module")
def system(queue: ValkeyServer, tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningSystem]:
    made = RunningSystem(tmp_path_factory.mktemp("rows"), queue.url, {})
    yield made
    made.close()


@pytest.fixture(scope="module")
def server(system: RunningSystem) -> Iterator[WebServer]:
    limits = {"max_body_mb": "12", "hook_body_timeout_s": "2", "hook_rate_per_minute": str(PER_MINUTE)}
    with web_server(system, web_workers="2", **limits) as running:
        yield running
        # After everything that was refused:
        assert not [secret for secret in SECRETS.values() if secret in running.log_text()]
        assert "Traceback" not in running.log_text()


def images(*message_ids: str, session: str = "1001") -> Any:
    """A payload of the Cloud API with images of these ids."""
    messages = [
        {
            "from": "5511",
            "id": name,
            "timestamp": "1763800000",
            "type": "image",
            "image": {"id": name, "mime_type": "image/jpeg"},
        }
        for name in message_ids
    ]
    value = {"messaging_product": "whatsapp", "metadata": {"phone_number_id": session}, "messages": messages}
    return {"object": "whatsapp_business_account", "entry": [{"id": "1", "changes": [{"value": value}]}]}


def of_waha(message_id: str) -> Any:
    media = {"url": "http://localhost:3000/api/files/a.jpg", "mimetype": "image/jpeg"}
    return {
        "event": "message",
        "session": "waha",
        "payload": {"id": message_id, "from": "5511@c.us", "hasMedia": True, "media": media},
    }


def of_gowa(message_id: str) -> Any:
    message = {"id": message_id, "chat_id": "5511@s.whatsapp.net", "image": "statics/media/a.jpeg"}
    return {"event": "message", "device_id": "gowa", "payload": message}


def payload_of(gateway: str, message_id: str) -> Any:
    return {"cloud": images, "waha": of_waha, "gowa": of_gowa}[gateway](message_id)


def rows(system: RunningSystem, session: str) -> list[str]:
    found = system.services.catalogue.find(Filters(session=session), limit=1000)
    return [record.message_id for record in found]


@pytest.mark.parametrize("gateway", SIGNED)
def test_hook_01_only_the_right_signature_is_accepted(server: WebServer, system: RunningSystem, gateway: str) -> None:
    body = json.dumps(payload_of(gateway, "hook-01")).encode()
    right = SIGNED[gateway](body)
    name, algorithm, key = SIGNATURES[gateway]
    sha1 = hmac.new(key.encode(), body, hashlib.sha1).hexdigest()
    digest = right[name].removeprefix("sha256=")
    wrong = [
        "",
        digest[:-1],
        digest[:-2] + "00",
        digest.upper(),
        f"sha1={sha1}",
        sha1,
        "é",
        "sha256=",
        f"sha256={sha1}",
    ]
    wrong += [SIGNED[gateway](body + b" ")[name], hmac.new(b"other", body, algorithm).hexdigest()]
    wrong += [digest] if algorithm == "sha256" else [f"sha512={digest}"]
    received = server.totals()["received"]
    for value in wrong:
        shown = {**right, name: value.encode().decode("latin-1")}
        refused = server.request("POST", f"/hooks/{gateway}", body, headers=shown)
        assert (refused.status, refused.code) == (401, "unauthorized"), value
    unsigned = server.request("POST", f"/hooks/{gateway}", body)
    assert (unsigned.status, unsigned.code) == (401, "unauthorized")
    assert server.totals()["received"] == received
    assert server.request("POST", f"/hooks/{gateway}", body, headers=right).status == 202


@pytest.mark.parametrize("gateway", SIGNED)
def test_hook_02_signatures_cover_the_raw_bytes(server: WebServer, gateway: str) -> None:
    given = payload_of(gateway, "hook-02 ção 😀")
    forms = [
        json.dumps(given).encode(),
        json.dumps(given, ensure_ascii=False).encode(),
        json.dumps(given, indent=3, ensure_ascii=False).encode() + b"\r\n",
        json.dumps(given).replace("/", "\\/").encode(),
    ]
    for body in forms:
        answer = server.request("POST", f"/hooks/{gateway}", body, headers=SIGNED[gateway](body))
        assert [one["message_id"] for one in answer.json["accepted"]] == ["hook-02 ção 😀"]
        other = forms[0] if body is not forms[0] else forms[1]
        refused = server.request("POST", f"/hooks/{gateway}", other, headers=SIGNED[gateway](body))
        assert (refused.status, refused.code) == (401, "unauthorized")


@pytest.mark.parametrize("gateway", SIGNED)
def test_hook_03_repeat_creates_no_second_attachment(server: WebServer, system: RunningSystem, gateway: str) -> None:
    body = json.dumps(payload_of(gateway, f"hook-03 {gateway}")).encode()
    headers = SIGNED[gateway](body)
    answers = [server.request("POST", f"/hooks/{gateway}", body, headers=headers) for _ in range(5)]
    assert [answer.status for answer in answers] == [202] * 5
    assert len({answer.json["accepted"][0]["id"] for answer in answers}) == 1
    session = "1001" if gateway == "cloud" else gateway
    assert rows(system, session).count(f"hook-03 {gateway}") == 1
    assert system.queue.stats.counts()["fetch"]["ready"] == len(system.services.catalogue.find(Filters(), limit=1000))


def test_hook_03_old_and_future_timestamps_are_refused(server: WebServer) -> None:
    body = json.dumps(of_waha("stale")).encode()
    for at in (time.time() - 3 * 24 * 3600, time.time() + 3 * 24 * 3600):
        assert server.request("POST", "/hooks/waha", body, headers=waha_signature(body, at=at)).status == 401


def test_hook_04_concurrent_copies_create_one_attachment(server: WebServer, system: RunningSystem) -> None:
    body = json.dumps(images("hook-04", session="1004")).encode()
    headers = hub_signature(body)
    waiting = system.queue.stats.counts()["fetch"]["ready"]
    with ThreadPoolExecutor(20) as pool:
        answers = list(pool.map(lambda _: server.request("POST", "/hooks/cloud", body, headers=headers), range(100)))
    assert {answer.status for answer in answers} == {202}
    assert len({answer.json["accepted"][0]["id"] for answer in answers}) == 1
    assert rows(system, "1004") == ["hook-04"]
    assert system.queue.stats.counts()["fetch"]["ready"] == waiting + 1


@pytest.mark.parametrize("gateway", [name for name in GATEWAYS if name != "media"])
def test_hook_06_unknown_shapes_are_counted_as_ignored(server: WebServer, gateway: str) -> None:
    odd: list[Any] = [{}, [], None, 7, "text", {"event": "unknown"}, {"entry": None}, {"entry": [{"changes": None}]}]
    odd += [{"entry": [{"changes": [{"value": {"messages": None}}]}]}, {"event": "message", "payload": None}]
    odd += [{"event": "messages.upsert", "data": None}, {"event": "onmessage", "type": None}]
    before = server.totals()["ignored"]
    ignored = 0
    for value in odd:
        body = json.dumps(value).encode()
        answer = server.request("POST", SENDERS[gateway].path, body, headers=SENDERS[gateway].authenticate(body))
        assert answer.status == 202, value
        ignored += answer.json["ignored"]
    assert ignored >= len(odd) - 1
    within(lambda: server.totals()["ignored"] == before + ignored)


def within(holds: Callable[[], bool], seconds: float = 5) -> None:
    deadline = time.monotonic() + seconds
    while not holds():
        assert time.monotonic() < deadline
        time.sleep(0.1)


@settings(max_examples=60, deadline=None, suppress_health_check=list(HealthCheck))
@given(given=ANY_JSON)
def test_hook_06_no_json_causes_a_server_error(server: WebServer, given: Any) -> None:
    body = json.dumps(given).encode()
    for sender in SENDERS.values():
        answer = server.request("POST", sender.path, body, headers=sender.authenticate(body))
        assert answer.status in {202, 400, 429}, answer
        assert answer.json


def test_history_of_hundreds_is_accepted_and_leaves_the_rate_to_new_messages(
    server: WebServer, system: RunningSystem
) -> None:
    node = {"directPath": "/v/t62.7118-24/1_n.enc", "mediaKey": "A" * 43 + "=", "mimetype": "image/jpeg"}

    def message(number: int) -> dict[str, Any]:
        return {"key": {"remoteJid": "5581@s.whatsapp.net", "id": f"old-{number}"}, "message": {"imageMessage": node}}

    def send(event: str, data: Any) -> Any:
        body = json.dumps({"event": event, "instance": "history", "data": data}).encode()
        return server.request("POST", "/hooks/evolution", body, headers=SENDERS["evolution"].authenticate(body))

    old = send("messages.set", [message(number) for number in range(2 * PER_MINUTE)])
    assert (old.status, len(old.json["accepted"])) == (202, 2 * PER_MINUTE)
    new = send("messages.upsert", message(-1))
    assert new.status == 202
    found = system.services.catalogue.find(Filters(session="history"), limit=1000)
    assert sorted(record.message_id for record in found if not record.from_history) == ["old--1"]
    assert len(found) == 2 * PER_MINUTE + 1


def in_chunks(*parts: bytes, pause_s: float = 0) -> Iterator[bytes]:
    for part in parts:
        yield part
        time.sleep(pause_s)


GZIPPED = gzip.compress(b" " * 50_000_000)
BAD_BODIES: dict[str, tuple[Any, dict[str, str], int, str]] = {
    "10 MB of objects": (b"[" + b",".join([b'{"a":1}'] * 1_250_000) + b"]", {}, 400, "bad_payload"),
    "20 MB": (b" " * 20_000_000, {}, 413, "too_large"),
    "10,000 levels": (b"[" * 10_000 + b"]" * 10_000, {}, 400, "bad_payload"),
    "100 levels": (b"[" * 100 + b"]" * 100, {}, 400, "bad_payload"),
    "NaN": (json.dumps({**GOOD, "size": float("nan")}).encode(), {}, 400, "bad_payload"),
    "infinity": (json.dumps({**GOOD, "size": 1}).replace("1}", "1e999}").encode(), {}, 400, "bad_payload"),
    "a name twice": (b'{"session": "a", "session": "b", "message_id": "x", "data": "QQ=="}', {}, 400, "bad_payload"),
    "no UTF-8": (b'{"session": "\xff", "message_id": "x", "data": "QQ=="}', {}, 400, "bad_payload"),
    "no JSON": (b"session=a&message_id=b", {}, 400, "bad_payload"),
    "nothing": (b"", {}, 400, "bad_payload"),
    "a gzip bomb": (GZIPPED, {"Content-Encoding": "gzip"}, 400, "bad_payload"),
    "a gzip bomb that says nothing": (GZIPPED, {}, 400, "bad_payload"),
    "chunks that come slowly": (in_chunks(*[b" "] * 40, pause_s=0.1), {}, 408, "bad_payload"),
    "chunks without an end": (in_chunks(*[b" " * 1_000_000] * 20), {}, 413, "too_large"),
}


@pytest.mark.parametrize("name", BAD_BODIES)
def test_hook_07_bad_body_is_refused_in_time(server: WebServer, name: str) -> None:
    body, headers, status, code = BAD_BODIES[name]
    began = time.monotonic()
    answer = server.request("POST", "/hooks/media", body, headers={"Authorization": f"Bearer {TOKEN}", **headers})
    assert (answer.status, answer.code) == (status, code)
    assert time.monotonic() - began < 15
    assert server.process.poll() is None
    assert "died" not in server.log_text()
    assert server.request("GET", "/healthz").status == 200


CHALLENGE = "hub.mode={mode}&hub.verify_token={token}&hub.challenge={challenge}"


def challenge(server: WebServer, *, token: str, mode: str = "subscribe", challenge: str = "1158201444") -> Any:
    return server.request("GET", "/hooks/cloud?" + CHALLENGE.format(mode=mode, token=token, challenge=challenge))


def test_hook_08_challenge_needs_the_verify_token_and_is_plain_text(server: WebServer) -> None:
    right = SECRETS["cloud_verify_token"].replace(" ", "%20")
    answer = challenge(server, token=right)
    assert (answer.status, answer.body) == (200, b"1158201444")
    script = challenge(server, token=right, challenge="%3Cscript%3Ealert(1)%3C/script%3E")
    assert script.body == b"<script>alert(1)</script>"
    assert script.headers["content-type"].startswith("text/plain")
    assert script.headers["x-content-type-options"] == "nosniff"
    for wrong in ({"token": ""}, {"token": right[:-1]}, {"token": "%C3%A9"}, {"token": right, "mode": "unsubscribe"}):
        refused = challenge(server, **wrong)
        assert (refused.status, refused.code) == (403, "forbidden")
        assert b"1158201444" not in refused.body
    assert server.request("GET", "/hooks/cloud").status == 403


def test_hook_10_injection_attempts_are_stored_as_text(server: WebServer, system: RunningSystem) -> None:
    names = [
        "../../etc/passwd",
        "\r\nDEL *\r\n",
        "<img src=x onerror=alert(1)>",
        "'; DROP TABLE media; --",
        "{esteira}:x",
    ]
    for name in names:
        answer = server.post_media({**GOOD, "session": f"hook-10 {name}", "message_id": name, "chat": name})
        [accepted] = answer.json["accepted"]
        record = system.record(accepted["id"])
        assert (record.session, record.message_id, record.chat) == (f"hook-10 {name}", name, name)
        assert answer.headers["content-type"] == "application/json"
    assert not list(system.folder.rglob("*passwd*"))
    assert system.queue.client.exists(system.queue.keys.messages)


def test_rate_limit_is_shared_by_both_processes(server: WebServer, system: RunningSystem) -> None:
    def send(batch: int) -> Any:
        body = json.dumps(images(*(f"{batch}-{n}" for n in range(10)), session="busy")).encode()
        return server.request("POST", "/hooks/cloud", body, headers=hub_signature(body))

    with ThreadPoolExecutor(6) as pool:
        answers = list(pool.map(send, range(PER_MINUTE // 10 + 5)))
    assert sum(answer.status == 202 for answer in answers) == PER_MINUTE // 10
    refused = [answer for answer in answers if answer.status != 202]
    assert {(answer.status, answer.code) for answer in refused} == {(429, "too_many_requests")}
    assert all(0 < int(answer.headers["retry-after"]) <= 60 for answer in refused)
    assert len(rows(system, "busy")) == PER_MINUTE, "a payload is accepted as a whole or not at all"
    body = json.dumps(images("quiet-1", session="quiet")).encode()
    assert server.request("POST", "/hooks/cloud", body, headers=hub_signature(body)).status == 202


def test_secret_in_a_path_is_accepted_and_not_logged(server: WebServer) -> None:
    body = json.dumps({"event": "onmessage", "session": "wpp", "id": "path", "type": "image", "body": "QQ=="}).encode()
    assert server.request("POST", f"/hooks/wppconnect/{PATH_SECRET}", body).status == 202
    for wrong in ("guess-of-a-secret", "guess-of-a-secret/", "", "%2e%2e/guess-of-a-secret"):
        assert server.request("POST", f"/hooks/wppconnect/{wrong}", body).status == 401
    assert server.request("POST", f"/hooks/nobody/{PATH_SECRET}", body).status == 404
    assert server.request("POST", f"/elsewhere/{PATH_SECRET}", body).status == 404
    assert server.request("POST", "/hooks/media/" + TOKEN.replace(" ", "%20"), json.dumps(GOOD).encode()).status == 401
    assert PATH_SECRET not in server.log_text()
    assert "guess-of-a-secret" not in server.log_text()
