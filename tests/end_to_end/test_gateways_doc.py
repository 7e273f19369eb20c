"""Runs the settings, trials and examples of docs/gateways.md, and compares its code with the Portuguese page."""

from __future__ import annotations

import base64
import contextlib
import json
import os
import re
import shutil
import signal
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from pipeline.catalogue import Catalogue, Filters
from pipeline.config.settings import Settings
from pipeline.gateways import GATEWAYS, source_of
from pipeline.models import Attachment, Record
from tests.conftest import missing
from tests.support.documents import DOCS, Block, blocks, settings
from tests.support.esteira import BIN, Installation, new_installation, start_esteira
from tests.support.gateway_senders import SENDERS
from tests.support.gateway_servers import EvolutionServer, GowaServer, WahaServer
from tests.support.http_client import local_http_client
from tests.support.payloads import media_file
from tests.support.valkey import ValkeyServer, free_port
from tests.support.waiting import wait_until

SECTIONS = {name: sender.section for name, sender in SENDERS.items() if sender.section}
TOKEN = "a-token-of-the-tests"


@pytest.fixture(autouse=True, scope="module")
def tools() -> None:
    for tool in ("bash", "curl", "openssl"):
        if not shutil.which(tool):
            missing(tool)


@pytest.fixture
def ports() -> dict[str, str]:
    """Free ports that replace those of the page."""
    return {f"127.0.0.1:{port}": f"127.0.0.1:{free_port()}" for port in (8000, 3000, 3001)}


def with_ports(text: str, ports: dict[str, str]) -> str:
    """The page's text with its ports replaced, including ports without a host."""
    # Replaces whole numbers in one pass: a new port may begin with the digits of an old one.
    text = re.sub(r"127\.0\.0\.1:\d+", lambda match: ports.get(match[0], match[0]), text)
    host = "127.0.0.1:"
    return re.sub(r"(?<=http\.server )\d+", lambda match: ports.get(host + match[0], match[0]).removeprefix(host), text)


def own_settings(section: list[Block], ports: dict[str, str]) -> dict[str, str]:
    """The settings of Esteira that the section lists."""
    known = {name.upper() for name in Settings.model_fields}
    listed = [settings(with_ports(block.code, ports)) for block in section if block.language == "ini"]
    return {name: value for values in listed if values.keys() <= known for name, value in values.items()}


@contextlib.contextmanager
def esteira(module_valkey: ValkeyServer, address: str, **values: str) -> Iterator[Installation]:
    """A running Esteira with an empty Redis database, these settings and the addresses of its servers."""
    module_valkey.client().flushall()
    defaults = {"REDIS_URL": module_valkey.url, "PORT": address[10:], "API_TOKEN": TOKEN, "FETCH_ALLOW_PRIVATE": ""}
    defaults |= {"WEB_CONCURRENCY": "1"}  # one worker process boots sooner than two
    with new_installation(**(defaults | values)) as installation, start_esteira(installation):
        wait_until(lambda: answers(f"http://{address}/healthz"))
        yield installation


def answers(url: str) -> bool:
    """Whether a server answers at this URL."""
    try:
        return httpx.get(url).is_success
    except httpx.TransportError:
        return False


@contextlib.contextmanager
def run_commands(commands: list[str], installation: Installation) -> Iterator[str]:
    """Runs the commands in a new directory with a photo; yields their output and finally ends their processes."""
    folder = installation.folder / "trial"
    folder.mkdir()
    (folder / "photo.jpg").write_bytes(media_file("photo.jpg"))
    env = installation.env | {"PATH": f"{BIN}:{os.environ['PATH']}"}
    # A server started with & needs a moment before the next command.
    script = "set -euo pipefail\n" + "\nsleep 1\n".join(commands)
    output = folder / "output.txt"
    with output.open("wb") as out:
        shell = subprocess.Popen(
            ["bash", "-c", script], cwd=folder, env=env, stdout=out, stderr=out, start_new_session=True
        )
    try:
        assert shell.wait(60) == 0, output.read_text()
        yield output.read_text()
    finally:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(shell.pid, signal.SIGTERM)


def only_record(installation: Installation) -> Record:
    """Waits until the only attachment is finished, and returns its record."""
    catalogue = Catalogue(f"sqlite:///{installation.folder / 'esteira.db'}")
    with contextlib.closing(catalogue):
        wait_until(lambda: all(record.finished_at for record in catalogue.find(Filters())), within_s=40)
        [record] = catalogue.find(Filters())
        return record


@pytest.mark.slow
@pytest.mark.parametrize("gateway", SECTIONS)
def test_trial_of_a_gateway_stores_its_first_file(
    module_valkey: ValkeyServer, ports: dict[str, str], gateway: str
) -> None:
    section = blocks("gateways.md", SECTIONS[gateway])
    trial = [with_ports(block.code, ports) for block in section if (block.language, block.heading) == ("sh", "A trial")]
    *send_commands, list_command = trial
    address = ports["127.0.0.1:8000"]
    with (
        esteira(module_valkey, address, **own_settings(section, ports)) as installation,
        run_commands(send_commands, installation) as output,
    ):
        if gateway == "cloud":
            assert output.startswith("12345")
        assert '"accepted":[{"id"' in output.replace(" ", "")
        record = only_record(installation)
        assert (record.gateway, record.status, record.error_code) == (gateway, "done", None)
        stored = installation.folder / "media" / (record.storage_key or "")
        assert stored.read_bytes() == media_file("photo.jpg")
        listed = subprocess.run(
            ["bash", "-c", list_command],
            env=installation.env | {"PATH": f"{BIN}:{os.environ['PATH']}"},
            cwd=installation.folder,
            capture_output=True,
            text=True,
            check=True,
        )
        assert record.id in listed.stdout
        assert "done" in listed.stdout


def test_settings_of_gateways_and_esteira_agree() -> None:
    wppconnect = blocks("gateways.md", SECTIONS["wppconnect"])
    secret = settings(first(wppconnect, "ini"))["WPPCONNECT_SECRET"]
    assert json.loads(first(wppconnect, "json"))["webhook"]["url"].endswith(f"/hooks/wppconnect/{secret}")

    evolution = blocks("gateways.md", SECTIONS["evolution"])
    body = first(evolution, "sh").partition("-d '")[2].rpartition("'")[0]
    webhook = json.loads(body)["webhook"]
    assert webhook["headers"]["jwt_key"] == settings(first(evolution, "ini"))["EVOLUTION_JWT_KEY"]
    assert webhook["url"].endswith("/hooks/evolution")

    ours, theirs = (
        settings(block.code) for block in blocks("gateways.md", SECTIONS["waha"]) if block.language == "ini"
    )
    assert ours["WAHA_HMAC_KEY"] == theirs["WHATSAPP_HOOK_HMAC_KEY"]
    assert ours["WAHA_API_KEY"] == theirs["WAHA_API_KEY"]
    assert ours["WAHA_FILES_LIFETIME_S"] == theirs["WHATSAPP_FILES_LIFETIME"]
    assert theirs["WHATSAPP_HOOK_URL"].endswith("/hooks/waha")

    ours, theirs = (
        settings(block.code) for block in blocks("gateways.md", SECTIONS["gowa"]) if block.language == "ini"
    )
    assert ours["GOWA_WEBHOOK_SECRET"] == theirs["WHATSAPP_WEBHOOK_SECRET"]
    assert ours["GOWA_AUTH"] == theirs["APP_BASIC_AUTH"]
    assert theirs["WHATSAPP_WEBHOOK"].endswith("/hooks/gowa")


def first(section: list[Block], language: str) -> str:
    return next(block.code for block in section if block.language == language)


# --- expired files ---


@pytest.fixture(scope="module")
def node() -> str:
    path = shutil.which("node")
    if not path:
        missing("node")
    return path or ""


def upload_again(node: str, folder: Path, gateway: str, event: dict[str, Any], client: str = "{}", **env: str) -> Any:
    """The result of the section's `uploadAgain` for this event."""
    (folder / "uploadAgain.mjs").write_text(first(blocks("gateways.md", SECTIONS[gateway]), "javascript"))
    driver = "import { uploadAgain } from './uploadAgain.mjs';\n"
    driver += f"console.log(JSON.stringify(await uploadAgain({json.dumps(event)}, {client})));\n"
    (folder / "driver.mjs").write_text(driver)
    finished = subprocess.run(
        [node, "driver.mjs"], cwd=folder, env=os.environ | env, capture_output=True, text=True, timeout=30, check=False
    )
    assert finished.returncode == 0, finished.stderr
    return json.loads(finished.stdout)


EVENT = {
    "type": "media.expired",
    "session": "shop",
    "message_id": "false_5511@c.us_3EB0/A1",
    "source": {"chat": "5511@c.us"},
}


def test_wppconnect_example_downloads_the_media_with_its_client(node: str, tmp_path: Path) -> None:
    client = "{ downloadMedia: async (id) => `data:image/jpeg;base64,${btoa(id)}` }"
    replacement = upload_again(node, tmp_path, "wppconnect", EVENT, client)
    assert replacement == {"data": f"data:image/jpeg;base64,{base64.b64encode(EVENT['message_id'].encode()).decode()}"}


def test_evolution_example_returns_the_file(node: str, tmp_path: Path) -> None:
    with EvolutionServer("key") as server:
        server.messages[EVENT["message_id"]] = ("image/jpeg", b"a picture")
        replacement = upload_again(
            node, tmp_path, "evolution", EVENT, EVOLUTION_URL=server.base, EVOLUTION_API_KEY="key"
        )
        assert server.requests[0].path.endswith("/shop")
    assert replacement == {"data": base64.b64encode(b"a picture").decode()}


def test_waha_example_returns_a_new_url(node: str, tmp_path: Path) -> None:
    with WahaServer("key") as server:
        server.messages[EVENT["message_id"]] = ("image/jpeg", b"a picture")
        replacement = upload_again(node, tmp_path, "waha", EVENT, WAHA_URL=server.base, WAHA_API_KEY="key")
        headers = {"x-api-key": "key"}
        assert httpx.get(replacement["url"], headers=headers).content == b"a picture"


def test_gowa_example_returns_a_url_of_its_statics(node: str, tmp_path: Path) -> None:
    event = EVENT | {"message_id": "3EB0A1", "session": "loja/1"}
    with GowaServer("loja:pass") as server:
        server.messages["3EB0A1"] = ("image/jpeg", b"a picture")
        replacement = upload_again(node, tmp_path, "gowa", event, GOWA_URL=server.base, GOWA_AUTH=server.login)
        assert server.requests[0].headers["x-device-id"] == "loja%2F1"
        settings = Settings(_env_file=None, gowa_url=server.base, gowa_auth=server.login)
        attachment = Attachment(gateway="gowa", session="s", message_id="m", **replacement)
        source = source_of(attachment, local_http_client(), settings)
        assert httpx.get(source.url, headers=dict(source.credentials)).content == b"a picture"


def test_cloud_api_section_has_no_example_for_expired_files() -> None:
    assert not [block for block in blocks("gateways.md", SECTIONS["cloud"]) if block.language == "javascript"]


def test_documented_event_has_all_source_fields_and_the_page_all_gateways() -> None:
    section = blocks("gateways.md", "What has expired, and how it comes back")
    event = json.loads(first(section, "json"))
    assert set(event["source"]) == {"chat", "message_id", "direct_path", "key_fingerprint"}
    assert set(SECTIONS) | {"media"} == set(GATEWAYS)


def fenced_blocks(page: str) -> list[str]:
    """The fenced code blocks of a page with their fences, in order."""
    return re.findall(r"^```.*?^```$", (DOCS / page).read_text(), re.DOTALL | re.MULTILINE)


def test_portuguese_page_has_the_same_code_blocks() -> None:
    english = fenced_blocks("gateways.md")
    assert english
    assert fenced_blocks("gateways.pt-BR.md") == english
