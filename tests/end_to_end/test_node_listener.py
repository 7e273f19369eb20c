"""The Node listener of docs/listener.md works as printed, with the real web app and workers."""

from __future__ import annotations

import base64
import json
import os
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.conftest import missing
from tests.support.documents import blocks
from tests.support.esteira import Installation, new_installation, start_esteira
from tests.support.gateway_servers import WhatsAppServer
from tests.support.media_server import Answer, MediaServer
from tests.support.payloads import media_file
from tests.support.valkey import ValkeyServer, free_port
from tests.support.waiting import wait_until
from tests.support.whatsapp_media import encrypt

SECRETS = {
    "API_TOKEN": "a-token-of-the-tests",
    "WPPCONNECT_SECRET": "a-secret-of-the-tests",
    "WEBHOOK_SECRET": "whsec_" + base64.b64encode(b"k" * 32).decode(),
}
PATH = "/v/t62.7118-24/photo.enc?ccb=11-4&oe=7FFFFFFF"


@pytest.fixture(scope="module")
def node() -> str:
    path = shutil.which("node")
    if not path:
        missing("node")
    return path or ""


@pytest.fixture
def listener(tmp_path: Path) -> Path:
    """A folder with the files of the page, and the function of the gateway."""
    found = [one.code for one in blocks("listener.md", "In Node") if one.language == "javascript"]
    for code in found:
        head = code.splitlines()[0]
        if head.startswith("// src/"):
            (tmp_path / head.removeprefix("// src/").split(":")[0]).write_text(code)
    [again] = [one.code for one in blocks("gateways.md", "WPPConnect") if one.language == "javascript"]
    (tmp_path / "uploadAgain.mjs").write_text(again)
    return tmp_path


def run(node: str, folder: Path, code: str, **env: str) -> subprocess.CompletedProcess[str]:
    """Runs JavaScript that imports the listener's files."""
    (folder / "driver.mjs").write_text(code)
    command = [node, "driver.mjs"]
    return subprocess.run(
        command, cwd=folder, env=os.environ | SECRETS | env, capture_output=True, text=True, timeout=60, check=False
    )


def handed_over(node: str, folder: Path, message: dict[str, Any], url: str) -> subprocess.CompletedProcess[str]:
    code = "import { handOver } from './esteira.mjs';\n"
    code += f"console.log(await handOver({json.dumps(message)}, 'shop'));\n"
    return run(node, folder, code, ESTEIRA_URL=url)


def photo_message(number: int) -> tuple[dict[str, Any], bytes]:
    """A message as WPPConnect passes it to its listener, and the encrypted file on WhatsApp's servers."""
    sealed = encrypt(media_file("photo.jpg"))
    hashes = {"filehash": sealed.file_sha256, "encFilehash": sealed.file_enc_sha256}
    message = {
        "id": f"false_5511999990000@c.us_3EB0{number}",
        "type": "image",
        "mimetype": "image/jpeg",
        "body": "/9j/4AAQSkZJRgABAQ",  # a thumbnail, cut short
        "mediaKey": sealed.media_key,
        "directPath": PATH,
        "from": "5511999990000@c.us",
        "size": sealed.size,
        "t": 1790000000,
        **{name: base64.b64encode(bytes.fromhex(value)).decode() for name, value in hashes.items()},
    }
    return message, sealed.data


@contextmanager
def listening(node: str, folder: Path, port: int, env: dict[str, str]) -> Iterator[Path]:
    """The event receiver of the page. It writes a line with id and URL for each `media.done`."""
    told = folder / "done"
    told.touch()
    client = "{ downloadMedia: async () => `data:image/jpeg;base64,${readFileSync('again.jpg', 'base64')}` }"
    code = "import { appendFileSync, readFileSync } from 'node:fs';\nimport { listen } from './app.mjs';\n"
    code += f"listen({port}, {client}, (event) => appendFileSync('done', `${{event.id}} ${{event.url}}\\n`));\n"
    (folder / "again.jpg").write_bytes(media_file("photo.jpg"))
    (folder / "receiver.mjs").write_text(code)
    with (folder / "said").open("wb") as out:
        process = subprocess.Popen(
            [node, "receiver.mjs"], cwd=folder, env=os.environ | SECRETS | env, stdout=out, stderr=out
        )
    try:
        yield told
    finally:
        process.terminate()
        process.wait(10)
        assert (folder / "said").read_text() == ""


@pytest.fixture
def around(module_valkey: ValkeyServer) -> Iterator[tuple[Installation, str, WhatsAppServer, int]]:
    """A running Esteira with a webhook: its folder, its URL, WhatsApp's servers, and the port of the webhook."""
    port, receiver = free_port(), free_port()
    with ExitStack() as stack:
        whatsapp = stack.enter_context(WhatsAppServer())
        # Messages here may hold the same picture, and each of them is to be fetched.
        own = {"PORT": str(port), "WEB_CONCURRENCY": "1", "FETCH_ONCE": "off"}
        installation = stack.enter_context(new_installation(REDIS_URL=module_valkey.url, **own, **SECRETS))
        announced = f"http://127.0.0.1:{receiver}/esteira"
        installation = installation.with_settings(**whatsapp.env(installation.folder), WEBHOOK_URL=announced)
        stack.enter_context(start_esteira(installation))
        wait_until(lambda: is_up(f"http://127.0.0.1:{port}/healthz"))
        yield installation, f"http://127.0.0.1:{port}", whatsapp, receiver


def is_up(url: str) -> bool:
    """Whether a server answers at this URL."""
    try:
        return httpx.get(url).is_success
    except httpx.TransportError:
        return False


@pytest.mark.slow
def test_listener_hands_messages_over_and_uploads_expired_ones_again(
    node: str, listener: Path, around: tuple[Installation, str, WhatsAppServer, int]
) -> None:
    installation, url, whatsapp, receiver = around
    first, sealed = photo_message(1)
    second, _ = photo_message(2)
    second["directPath"] = "/v/t62.7118-24/lost.enc?oe=7FFFFFFF"
    whatsapp.hold(PATH, sealed)
    whatsapp.lost.add("/v/t62.7118-24/lost.enc")
    with listening(node, listener, receiver, {"ESTEIRA_URL": url}) as told:
        ids = []
        for message in (first, second):
            finished = handed_over(node, listener, message, url)
            assert finished.returncode == 0, finished.stderr
            ids.append(finished.stdout.strip())
        wait_until(lambda: len(told.read_text().splitlines()) == 2, within_s=40)
        done = dict(line.split(" ") for line in told.read_text().splitlines())
    assert sorted(done) == sorted(ids)
    for media_id, run_number in zip(ids, (0, 1), strict=True):
        record = installation.run("status", media_id, "--json").json
        assert (record["status"], record["run"], record["session"]) == ("done", run_number, "shop")
        assert httpx.get(done[media_id]).content == media_file("photo.jpg")


def test_message_without_media_has_no_id(node: str, listener: Path) -> None:
    with MediaServer() as server:
        nothing = json.dumps({"accepted": [], "ignored": 1}).encode()
        server.answers["hooks/wppconnect"] = Answer(202, {"Content-Type": "application/json"}, nothing)
        finished = handed_over(node, listener, {"type": "chat", "body": "Oi"}, server.url("").rstrip("/"))
        [request] = server.requests
    assert (finished.returncode, finished.stdout.strip()) == (0, "null")
    assert request.headers["x-webhook-secret"] == SECRETS["WPPCONNECT_SECRET"]
    assert json.loads(request.body) == {"event": "onmessage", "session": "shop", "type": "chat", "body": "Oi"}


def test_listener_retries_503_and_reports_refusals(node: str, listener: Path) -> None:
    busy = Answer(503, {"Retry-After": "0"}, b'{"error": {"code": "catalogue"}}')
    good = Answer(202, {"Content-Type": "application/json"}, b'{"accepted": [{"id": "abc"}], "ignored": 0}')
    with MediaServer() as server:
        url = server.url("").rstrip("/")
        server.answers["hooks/wppconnect"] = [busy, busy, good]
        assert handed_over(node, listener, {}, url).stdout.strip() == "abc"
        server.answers["hooks/wppconnect"] = busy
        finished = handed_over(node, listener, {}, url)
        assert finished.returncode == 1
        assert "catalogue" in finished.stderr
        assert server.hits("hooks/wppconnect") == 6
        server.answers["hooks/wppconnect"] = Answer(401, {}, b"unauthorized")
        assert handed_over(node, listener, {}, url).returncode == 1
        assert server.hits("hooks/wppconnect") == 7  # a refusal is final
    finished = handed_over(node, listener, {}, url)
    assert (finished.returncode, "no answer" in finished.stderr) == (1, True)


@pytest.mark.parametrize(
    ("change", "known"),
    [
        ({}, True),
        ({"webhook-signature": "v1,AAAA v1,{signature}"}, True),
        ({"webhook-signature": "v1,AAAA"}, False),
        ({"webhook-signature": None}, False),
        ({"webhook-timestamp": "1600000000"}, False),
        ({"webhook-id": "another"}, False),
    ],
)
def test_listener_accepts_only_signed_events(
    node: str, listener: Path, change: dict[str, str | None], known: bool
) -> None:
    body = '{"type":"media.done","caption":"São João"}'
    code = f"""
import {{ createHmac }} from 'node:crypto';
import {{ eventOf }} from './esteira.mjs';
const body = {json.dumps(body, ensure_ascii=False)};
const now = String(Math.floor(Date.now() / 1000));
const key = Buffer.from(process.env.WEBHOOK_SECRET.slice(6), 'base64');
const signature = createHmac('sha256', key).update(`id.${{now}}.${{body}}`).digest('base64');
const headers = {{ 'webhook-id': 'id', 'webhook-timestamp': now, 'webhook-signature': `v1,${{signature}}` }};
for (const [name, value] of Object.entries({json.dumps(change)})) {{
    if (value === null) delete headers[name];
    else headers[name] = value.replace('{{signature}}', signature);
}}
console.log(JSON.stringify(eventOf(headers, body)));
"""
    finished = run(node, listener, code)
    assert finished.returncode == 0, finished.stderr
    assert json.loads(finished.stdout) == (json.loads(body) if known else None)
