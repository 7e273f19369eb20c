"""Follows docs/gateways.md: its settings, its trials, and its examples for expired files."""

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
from pipeline.gateways import GATEWAYS
from pipeline.models import Record
from tests.conftest import missing
from tests.support.documents import Block, blocks, settings
from tests.support.esteira import BIN, Installation, new_installation, start_esteira
from tests.support.gateway_senders import SENDERS
from tests.support.gateway_servers import EvolutionServer, WahaServer
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


def moved(text: str, ports: dict[str, str]) -> str:
    """The page's text with other ports, including ports without a host."""
    # All at once, and whole numbers only: a new port may begin with the digits of an old one.
    text = re.sub(r"127\.0\.0\.1:\d+", lambda found: ports.get(found[0], found[0]), text)
    host = "127.0.0.1:"
    return re.sub(r"(?<=http\.server )\d+", lambda found: ports.get(host + found[0], found[0]).removeprefix(host), text)


def own_settings(found: list[Block], ports: dict[str, str]) -> dict[str, str]:
    """The settings of Esteira that the section lists."""
    known = {name.upper() for name in Settings.model_fields}
    ours = [settings(moved(one.code, ports)) for one in found if one.language == "ini"]
    return {name: value for given in ours if given.keys() <= known for name, value in given.items()}


@contextlib.contextmanager
def esteira(module_valkey: ValkeyServer, address: str, **given: str) -> Iterator[Installation]:
    """A running Esteira with nothing set but this and where its parts stand, empty of what others have done."""
    module_valkey.client().flushall()
    base = {"REDIS_URL": module_valkey.url, "PORT": address[10:], "API_TOKEN": TOKEN, "FETCH_ALLOW_PRIVATE": ""}
    base |= {"WEB_CONCURRENCY": "1"}  # one worker process boots sooner than two
    with new_installation(**(base | given)) as installation, start_esteira(installation):
        wait_until(lambda: answers(f"http://{address}/healthz"))
        yield installation


def answers(url: str) -> bool:
    """Whether a server answers at this URL."""
    try:
        return httpx.get(url).is_success
    except httpx.TransportError:
        return False


@contextlib.contextmanager
def followed(commands: list[str], installation: Installation) -> Iterator[str]:
    """Runs the commands in a new folder that has a photo; what they said. Whatever they left running ends with them."""
    folder = installation.folder / "trial"
    folder.mkdir()
    (folder / "photo.jpg").write_bytes(media_file("photo.jpg"))
    env = installation.env | {"PATH": f"{BIN}:{os.environ['PATH']}"}
    # A server that is begun with & needs a moment that a person takes anyway.
    script = "set -euo pipefail\n" + "\nsleep 1\n".join(commands)
    said = folder / "said"
    with said.open("wb") as out:
        shell = subprocess.Popen(
            ["bash", "-c", script], cwd=folder, env=env, stdout=out, stderr=out, start_new_session=True
        )
    try:
        assert shell.wait(60) == 0, said.read_text()
        yield said.read_text()
    finally:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(shell.pid, signal.SIGTERM)


def only_record(installation: Installation) -> Record:
    """The one attachment, once it has ended."""
    catalogue = Catalogue(f"sqlite:///{installation.folder / 'esteira.db'}")
    with contextlib.closing(catalogue):
        wait_until(lambda: all(one.finished_at for one in catalogue.find(Filters())), within_s=40)
        [record] = catalogue.find(Filters())
        return record


@pytest.mark.slow
@pytest.mark.parametrize("gateway", SECTIONS)
def test_a_trial_ends_with_the_first_stored_file(
    module_valkey: ValkeyServer, ports: dict[str, str], gateway: str
) -> None:
    found = blocks("gateways.md", SECTIONS[gateway])
    trial = [moved(one.code, ports) for one in found if (one.language, one.heading) == ("sh", "A trial")]
    *sending, look = trial
    address = ports["127.0.0.1:8000"]
    with (
        esteira(module_valkey, address, **own_settings(found, ports)) as installation,
        followed(sending, installation) as said,
    ):
        if gateway == "cloud":
            assert said.startswith("12345")
        assert '"accepted":[{"id"' in said.replace(" ", "")
        record = only_record(installation)
        assert (record.gateway, record.status, record.error_code) == (gateway, "done", None)
        stored = installation.folder / "media" / (record.storage_key or "")
        assert stored.read_bytes() == media_file("photo.jpg")
        listed = subprocess.run(
            ["bash", "-c", look],
            env=installation.env | {"PATH": f"{BIN}:{os.environ['PATH']}"},
            cwd=installation.folder,
            capture_output=True,
            text=True,
            check=True,
        )
        assert record.id in listed.stdout
        assert "done" in listed.stdout


def test_what_a_gateway_is_told_agrees_with_what_esteira_is_told() -> None:
    wppconnect = blocks("gateways.md", SECTIONS["wppconnect"])
    secret = settings(first(wppconnect, "ini"))["WPPCONNECT_SECRET"]
    assert json.loads(first(wppconnect, "json"))["webhook"]["url"].endswith(f"/hooks/wppconnect/{secret}")

    evolution = blocks("gateways.md", SECTIONS["evolution"])
    body = first(evolution, "sh").partition("-d '")[2].rpartition("'")[0]
    webhook = json.loads(body)["webhook"]
    assert webhook["headers"]["jwt_key"] == settings(first(evolution, "ini"))["EVOLUTION_JWT_KEY"]
    assert webhook["url"].endswith("/hooks/evolution")

    ours, theirs = (settings(one.code) for one in blocks("gateways.md", SECTIONS["waha"]) if one.language == "ini")
    assert ours["WAHA_HMAC_KEY"] == theirs["WHATSAPP_HOOK_HMAC_KEY"]
    assert ours["WAHA_API_KEY"] == theirs["WAHA_API_KEY"]
    assert ours["WAHA_FILES_LIFETIME_S"] == theirs["WHATSAPP_FILES_LIFETIME"]
    assert theirs["WHATSAPP_HOOK_URL"].endswith("/hooks/waha")


def first(found: list[Block], language: str) -> str:
    return next(one.code for one in found if one.language == language)


# --- what has expired ---


@pytest.fixture(scope="module")
def node() -> str:
    path = shutil.which("node")
    if not path:
        missing("node")
    return path or ""


def upload_again(node: str, folder: Path, gateway: str, event: dict[str, Any], client: str = "{}", **env: str) -> Any:
    """What the section's `uploadAgain` gives for this event."""
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


def test_wppconnects_client_is_asked_for_a_new_upload(node: str, tmp_path: Path) -> None:
    client = "{ downloadMedia: async (id) => `data:image/jpeg;base64,${btoa(id)}` }"
    given = upload_again(node, tmp_path, "wppconnect", EVENT, client)
    assert given == {"data": f"data:image/jpeg;base64,{base64.b64encode(EVENT['message_id'].encode()).decode()}"}


def test_evolution_gives_the_file_itself(node: str, tmp_path: Path) -> None:
    with EvolutionServer("key") as server:
        server.messages[EVENT["message_id"]] = ("image/jpeg", b"a picture")
        given = upload_again(node, tmp_path, "evolution", EVENT, EVOLUTION_URL=server.base, EVOLUTION_KEY="key")
        assert server.requests[0].path.endswith("/shop")
    assert given == {"data": base64.b64encode(b"a picture").decode()}


def test_waha_gives_a_new_url(node: str, tmp_path: Path) -> None:
    with WahaServer("key") as server:
        server.messages[EVENT["message_id"]] = ("image/jpeg", b"a picture")
        given = upload_again(node, tmp_path, "waha", EVENT, WAHA_URL=server.base, WAHA_API_KEY="key")
        shown = {"x-api-key": "key"}
        assert httpx.get(given["url"], headers=shown).content == b"a picture"


def test_the_cloud_api_has_nothing_to_ask_with() -> None:
    assert not [one for one in blocks("gateways.md", SECTIONS["cloud"]) if one.language == "javascript"]


def test_the_page_shows_the_event_and_the_fields_as_they_are() -> None:
    found = blocks("gateways.md", "What has expired, and how it comes back")
    event = json.loads(first(found, "json"))
    assert set(event["source"]) == {"chat", "message_id", "direct_path", "key_fingerprint"}
    assert set(SECTIONS) | {"media"} == set(GATEWAYS)
