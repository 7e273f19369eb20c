"""The Node listeners of docs/listener.md work as printed, with the packed client, the real web app and workers."""

from __future__ import annotations

import base64
import json
import os
import subprocess
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.support.documents import Block, blocks
from tests.support.esteira import Installation, new_installation, start_esteira
from tests.support.gateway_servers import WhatsAppServer
from tests.support.node import add_client
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


@pytest.fixture
def listener(tmp_path: Path) -> Path:
    """A folder with the client, the program of the page that hears results, and the function of the gateway."""
    add_client(tmp_path)
    [heard] = [one.code for one in scripts("In Node") if one.heading == "Results in Node"]
    (tmp_path / "app.mjs").write_text(heard)
    [again] = [one.code for one in blocks("gateways.md", "WPPConnect") if one.language == "javascript"]
    (tmp_path / "uploadAgain.mjs").write_text(again)
    return tmp_path


def scripts(section: str) -> list[Block]:
    """The JavaScript in a section of the page."""
    return [one for one in blocks("listener.md", section) if one.language == "javascript"]


DRIVER = """
import { readFileSync } from 'node:fs';
const given = JSON.parse(readFileSync(0, 'utf8'));
let hear;
globalThis.session = 'shop';
globalThis.client = { onMessage: (heard) => (hear = heard), on: (_name, heard) => (hear = heard) };
globalThis.sock = { ev: { on: (_name, heard) => (hear = (msg) => heard({ messages: [msg] })) } };
globalThis.saveMessage = async (_msg, _session, id) => console.log(id);
await import('./listener.mjs');
for (const msg of given) await hear(msg);
process.exit();
"""


def handed_over(folder: Path, library: str, messages: list[dict[str, Any]], **env: str) -> list[str]:
    """The ids that the listener of the page for a library saves with these messages."""
    [_before, after] = [one.code for one in scripts("In Node") if one.heading == library]
    assert len(after.splitlines()) <= 10
    (folder / "listener.mjs").write_text(after)
    (folder / "driver.mjs").write_text(DRIVER)
    done = subprocess.run(
        ["node", "driver.mjs"],
        cwd=folder,
        env=os.environ | SECRETS | env,
        input=json.dumps(messages),
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert (done.returncode, done.stderr) == (0, "")
    return done.stdout.split()


def baileys_message(message: dict[str, Any]) -> dict[str, Any]:
    """The same message as Baileys passes it to its listener, as far as JSON can hold it."""
    image = {
        "mimetype": message["mimetype"],
        "mediaKey": message["mediaKey"],
        "directPath": message["directPath"],
        "fileSha256": message["filehash"],
        "fileEncSha256": message["encFilehash"],
        "fileLength": {"low": message["size"], "high": 0, "unsigned": True},
    }
    key = {"remoteJid": "5511999990000@s.whatsapp.net", "fromMe": False, "id": "3EB0B"}
    return {"key": key, "message": {"viewOnceMessageV2": {"message": {"imageMessage": image}}}, "messageTimestamp": 1}


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
def listening(folder: Path, port: int, env: dict[str, str]) -> Iterator[Path]:
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
            ["node", "receiver.mjs"], cwd=folder, env=os.environ | SECRETS | env, stdout=out, stderr=out
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
def test_listeners_hand_messages_over_and_expired_ones_are_uploaded_again(
    listener: Path, around: tuple[Installation, str, WhatsAppServer, int]
) -> None:
    installation, url, whatsapp, receiver = around
    photo, sealed = photo_message(1)
    lost = {**photo_message(2)[0], "directPath": "/v/t62.7118-24/lost.enc?oe=7FFFFFFF"}
    whatsapp.hold(PATH, sealed)
    whatsapp.lost.add("/v/t62.7118-24/lost.enc")
    web = {**photo_message(3)[0], "id": {"fromMe": False, "remote": "5511999990000@c.us", "id": "3EB03"}}
    text = {"id": "false_5511999990000@c.us_3EB0T", "type": "chat", "body": "Oi"}
    given = {
        "WPPConnect": [photo, lost, text],
        "whatsapp-web.js": [{"_data": {**web, "mediaKey": photo["mediaKey"], **hashes(photo)}, "hasMedia": True}],
        "Baileys": [baileys_message(photo), {"key": {"remoteJid": "x", "id": "y"}, "message": {"conversation": "Oi"}}],
        "venom": [{**photo, "id": "false_5511999990000@c.us_3EB04", "isOnline": None}],
    }
    with listening(listener, receiver, {"ESTEIRA_URL": url, "ESTEIRA_TOKEN": SECRETS["API_TOKEN"]}) as told:
        saved = [handed_over(listener, library, some, ESTEIRA_URL=url) for library, some in given.items()]
        assert [ids.count("null") for ids in saved] == [1, 0, 1, 0]
        ids = [media_id for ids in saved for media_id in ids if media_id != "null"]
        wait_until(lambda: len(told.read_text().splitlines()) == len(ids), within_s=40)
        done = dict(line.split(" ") for line in told.read_text().splitlines())
    assert sorted(done) == sorted(ids)
    runs = [installation.run("status", media_id, "--json").json["run"] for media_id in ids]
    assert runs == [0, 1, 0, 0, 0], "the lost one was replayed"
    assert {httpx.get(address).content for address in done.values()} == {media_file("photo.jpg")}


def hashes(message: dict[str, Any]) -> dict[str, Any]:
    """What tells the file of a message."""
    return {name: message[name] for name in ("filehash", "encFilehash", "size")}


def test_listener_keeps_messages_while_esteira_is_away(listener: Path) -> None:
    message, _ = photo_message(1)
    away = f"http://127.0.0.1:{free_port()}"
    [media_id] = handed_over(listener, "WPPConnect", [message], ESTEIRA_URL=away)
    [entry] = (listener / "esteira-spool").glob("*.json")
    assert json.loads(entry.read_text())["id"] == media_id
