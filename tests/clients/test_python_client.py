"""The Python client as a user installs it, from its wheel, with the real web app and workers."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterable
from contextlib import ExitStack
from pathlib import Path
from typing import Any
from zipfile import ZipFile

import pytest

import esteira_client
from esteira_client import Client, ConflictError, UnauthorizedError, verify
from esteira_client.messages import HandOver, WithoutMedia, hand_over_of
from pipeline.catalogue import Filters
from pipeline.config.settings import load_settings
from pipeline.gateways import GATEWAYS
from tests.support.documents import blocks
from tests.support.media_server import Answer, MediaServer
from tests.support.payloads import names, payload
from tests.support.system import ROOT, RunningSystem, photo
from tests.support.valkey import free_port
from tests.support.waiting import wait_until
from tests.support.web_server import TOKEN, web_server
from tests.support.webhooks import SECRET

UV = ROOT / ".tools" / "bin" / "uv"
MESSAGES = 1000
VERSION = esteira_client.__version__

LISTENER = """
import json, sys
from concurrent.futures import ThreadPoolExecutor
from esteira_client import Client
url, token, folder = sys.argv[1:]

def hand_over(number):
    message = {"message_id": f"m{number}", "url": f"https://media.example/{number}", "kind": "image"}
    receipt = client.process_media(message, "shop")
    sys.stdout.write(f"{number} {receipt.id} {receipt.mode}\\n")
    sys.stdout.flush()

with Client(url, token, spool=folder) as client, ThreadPoolExecutor(4) as threads:
    list(threads.map(hand_over, json.loads(sys.stdin.readline())))
    sys.stdin.readline()  # until it is killed
"""


@pytest.fixture(scope="module")
def python(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The interpreter of an environment with nothing but the built wheel and what it needs."""
    folder = tmp_path_factory.mktemp("client")
    env = os.environ | {"UV_PYTHON_DOWNLOADS": "never", "UV_SYSTEM_CERTS": "true"}

    def uv(*arguments: str | Path) -> None:
        done = subprocess.run([UV, *arguments], env=env, capture_output=True, text=True, timeout=200, check=False)
        assert done.returncode == 0, done.stderr

    uv("build", "--quiet", "--python", sys.executable, "--out-dir", folder / "dist", ROOT / "clients" / "python")
    [wheel], [_sdist] = ((folder / "dist").glob(f"esteira_client-{VERSION}*{end}") for end in (".whl", ".tar.gz"))
    uv("venv", "--quiet", "--python", sys.executable, folder / "venv")
    interpreter = folder / "venv" / "bin" / "python"
    names = ZipFile(wheel).namelist()
    assert {"esteira_client/py.typed", f"esteira_client-{VERSION}.dist-info/licenses/LICENSE"} <= set(names)
    assert {name.partition("/")[0] for name in names} == {"esteira_client", f"esteira_client-{VERSION}.dist-info"}
    uv("pip", "install", "--quiet", "--python", interpreter, wheel)
    return interpreter


class Listener:
    """A listener in a process of its own, which hands messages over as fast as it can."""

    def __init__(self, python: Path, *arguments: str | Path) -> None:
        command = [python, "-c", LISTENER, *map(str, arguments)]
        env = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
        pipe = subprocess.PIPE
        self.process = subprocess.Popen(command, cwd=python.parent, env=env, stdin=pipe, stdout=pipe, text=True)
        self.receipts: dict[int, tuple[str, str]] = {}

    def begin(self, numbers: Iterable[int]) -> None:
        """Hands the messages with these numbers over."""
        assert self.process.stdin
        self.process.stdin.write(json.dumps(list(numbers)) + "\n")
        self.process.stdin.flush()

    def read(self, count: int) -> None:
        """Waits for so many receipts more."""
        assert self.process.stdout
        for _ in range(count):
            number, media_id, mode = self.process.stdout.readline().split()
            self.receipts[int(number)] = (media_id, mode)

    def __enter__(self) -> Listener:
        return self

    def __exit__(self, *_: object) -> None:
        self.process.kill()
        self.process.wait(10)


@pytest.mark.slow
def test_no_message_is_lost_or_doubled_while_server_and_listener_are_killed(
    python: Path, system: RunningSystem, tmp_path: Path
) -> None:
    port, spool = free_port(), tmp_path / "spool"
    url = f"http://127.0.0.1:{port}"
    with ExitStack() as stack:
        server = stack.enter_context(web_server(system, port=str(port)))
        with Listener(python, url, TOKEN, spool) as killed:
            killed.begin(range(MESSAGES))
            killed.read(200)
            server.process.kill()
            killed.read(200)
        # What has no receipt is handed over again: the server or the spool may have it already.
        remaining = [number for number in range(MESSAGES) if number not in killed.receipts]
        with Listener(python, url, TOKEN, spool) as heir:
            heir.begin(remaining)
            heir.read(200)
            stack.enter_context(web_server(system, port=str(port)))
            heir.read(len(remaining) - 200)
            wait_until(lambda: not list(spool.glob("*.json")), within_s=60)
    receipts = killed.receipts | heir.receipts
    assert {mode for _, mode in receipts.values()} == {"accepted", "spooled"}
    rows = [record.id for record in system.services.catalogue.find(Filters(), limit=2 * MESSAGES)]
    assert sorted(rows) == sorted(media_id for media_id, _ in receipts.values())
    assert len(set(rows)) == MESSAGES


@pytest.mark.slow
def test_client_reads_what_became_of_a_file(make_system: Any, tmp_path: Path) -> None:
    data = photo()
    with MediaServer() as receiver:
        webhook = {"webhook_url": receiver.url("esteira"), "webhook_secret": SECRET}
        system = make_system(media_backoff_ms="50", **webhook)
        with system.workers(), web_server(system) as server:
            url = f"http://127.0.0.1:{server.port}"
            with Client(url, TOKEN, spool=tmp_path / "spool", timeout=20) as client:
                receipt = client.process_media({"message_id": "m1", "kind": "image"}, "shop", file=data)
                sent = hand_over_of({"message_id": "m1"}, "shop", data)
                assert isinstance(sent, HandOver)
                assert (receipt.mode, receipt.id) == ("accepted", sent.id)
                wait_until(lambda: receiver.requests)
                record = client.media(sent.id)
                assert (record["status"], record["filename"]) == ("done", None)
                with client.content(receipt.id) as content:
                    assert (content.read(), content.mime, content.size) == (data, "image/jpeg", len(data))
                with pytest.raises(ConflictError) as caught:
                    client.replay(receipt.id)
                assert (caught.value.status, caught.value.code) == (409, "not_ended")
            with Client(url, "wrong", spool=tmp_path / "spool") as client, pytest.raises(UnauthorizedError):
                client.process_media({"message_id": "m2", "url": "https://media.example/x"}, "shop")
        [request] = receiver.requests
    event = verify(request.headers, request.body, SECRET)
    assert (event["type"], event["id"], event["session"]) == ("media.done", receipt.id, "shop")


def test_listener_of_the_page_works_as_printed(tmp_path: Path) -> None:
    [example] = [block.code for block in blocks("listener.md", "In Python without the core")]
    saved: list[Any] = []
    reply = {"accepted": [{"id": "a" * 32, "message_id": "m1", "status": "received"}], "ignored": 0}
    with MediaServer() as server:
        server.answers["hooks/wppconnect"] = Answer(202, {}, json.dumps(reply).encode())
        code = example.replace("127.0.0.1:8000", f"127.0.0.1:{server.port}").replace("/var/lib/bot", str(tmp_path))
        names: dict[str, Any] = {"API_TOKEN": TOKEN, "save_message": lambda *_, media_id: saved.append(media_id)}
        exec(code, names)
        with names["client"]:
            message = messages_of(payload("wppconnect", "image_with_a_thumbnail"))[0]
            names["on_message"]({**message, "hasMedia": True}, "shop")
            names["on_message"]({"id": "m2", "type": "chat"}, "shop")
        [request] = server.requests
    assert saved == ["a" * 32, None]
    assert request.headers["authorization"] == f"Bearer {TOKEN}"


def samples() -> list[Any]:
    """The messages of the samples of WPPConnect and Evolution API, each with the payload that its gateway sends."""
    return [
        pytest.param(gateway, message, id=f"{gateway}-{name}")
        for gateway in ("wppconnect", "evolution")
        for name in names(gateway)
        if not name.startswith("ignored_")
        for message in messages_of(payload(gateway, name))
    ]


def messages_of(event: dict[str, Any]) -> list[dict[str, Any]]:
    inner = event.get("data") or event.get("response") or event
    inner = inner.get("messages", inner) if isinstance(inner, dict) else inner
    return inner if isinstance(inner, list) else [inner]


@pytest.mark.parametrize(("gateway", "message"), samples())
def test_client_knows_the_id_that_the_server_gives(gateway: str, message: dict[str, Any]) -> None:
    session = message.pop("session", None) or "shop"
    sent = hand_over_of(message, session)
    if isinstance(sent, WithoutMedia):
        payload = {"event": "messages.upsert", "instance": session, "data": message}
        assert not GATEWAYS[gateway].parse(payload, load_settings(_env_file=None)).attachments
        return
    assert sent.path == f"/hooks/{gateway}"
    parsed = GATEWAYS[gateway].parse(json.loads(sent.json), load_settings(_env_file=None))
    assert [attachment.id for attachment in parsed.attachments[:1]] in ([sent.id], [])
