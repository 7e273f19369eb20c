"""Each gateway's payload samples end as files in storage.

Runs the real web app, workers and Valkey, and test servers that answer as the gateways' documentation describes.
"""

from __future__ import annotations

import base64
import hashlib
import json
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from typing import Any

import httpx
import pytest

from esteira.cli.waiting import wait_for_results
from pipeline.catalogue import Catalogue
from pipeline.config.settings import Settings
from pipeline.gateways import GATEWAYS
from pipeline.models import Attachment, Record
from tests.support.esteira import Installation, new_installation, start_esteira
from tests.support.gateway_senders import API_TOKEN, SENDERS, SETTINGS
from tests.support.gateway_servers import GowaServer, GraphServer, WahaServer, WhatsAppServer
from tests.support.media_server import Answer, MediaServer
from tests.support.payloads import content_of, held_by_whatsapp, media_file, names, payload
from tests.support.samples import sample
from tests.support.valkey import ValkeyServer, free_port
from tests.support.waiting import wait_until
from tests.support.whatsapp_media import encrypt

WEBHOOK_SECRET = "whsec_" + base64.b64encode(bytes(24)).decode()
DEFAULT_SESSION = "phone"  # GOWA names none before version 8
SECOND_NUMBER = "206540352242922"
TOKENS = ("a-token-of-the-first-number", "a-token-of-the-second-number")
CONTENTS = {
    "image": lambda: media_file("photo.jpg"),
    "sticker": lambda: media_file("sticker.webp"),
    "video": lambda: media_file("clip.mp4"),
    "ptt": lambda: media_file("voice.ogg"),
    "audio": lambda: sample("mp3/lame"),
    "document": lambda: media_file("report.pdf"),
}
BY_SUFFIX = {
    ".mp4": CONTENTS["video"],
    ".ogg": CONTENTS["ptt"],
    ".xlsx": lambda: sample("xlsx/openpyxl"),
    ".oga": CONTENTS["ptt"],
    ".webp": CONTENTS["sticker"],
    ".zip": lambda: media_file("sticker.was"),
}


@dataclass
class GatewaySystem:
    """A running Esteira and the servers of the gateways."""

    installation: Installation
    url: str
    whatsapp: WhatsAppServer
    waha: WahaServer
    gowa: GowaServer
    graph: GraphServer
    elsewhere: MediaServer
    sink: MediaServer

    def send(self, gateway: str, hook_payload: Any) -> dict[str, Any]:
        """Sends a payload to the gateway's hook as the gateway would, and returns the reply."""
        body = json.dumps(hook_payload, ensure_ascii=False).encode()
        sender = SENDERS[gateway]
        answer = httpx.post(self.url + sender.path, content=body, headers=sender.headers(body), timeout=30)
        assert answer.status_code == 202, answer.text
        reply: dict[str, Any] = answer.json()
        return reply

    def finished(self, ids: list[str]) -> dict[str, Record]:
        """Waits until all attachments are finished, and returns their records by id."""
        catalogue = Catalogue(f"sqlite:///{self.installation.folder / 'esteira.db'}")
        records = {record.id: record for record in wait_for_results(catalogue, ids, timeout_s=60)}
        catalogue.close()
        return records

    def events(self, media_id: str) -> list[dict[str, Any]]:
        events = [json.loads(request.body) for request in self.sink.requests]
        return [event for event in events if event["id"] == media_id]


@pytest.fixture(scope="module")
def system(module_valkey: ValkeyServer) -> Iterator[GatewaySystem]:
    port = free_port()
    with ExitStack() as stack:
        whatsapp, elsewhere, sink = (stack.enter_context(kind()) for kind in (WhatsAppServer, MediaServer, MediaServer))
        waha, graph = stack.enter_context(WahaServer("a-key-of-the-files")), stack.enter_context(GraphServer(*TOKENS))
        gowa = stack.enter_context(GowaServer("loja:a-password-of-the-files"))
        installation = stack.enter_context(new_installation(REDIS_URL=module_valkey.url, PORT=str(port), **SETTINGS))
        installation = installation.with_settings(
            **whatsapp.env(installation.folder),
            WAHA_URL=waha.base,
            WAHA_API_KEY=waha.key,
            GOWA_URL=gowa.base,
            GOWA_AUTH=gowa.login,
            DEFAULT_SESSION=DEFAULT_SESSION,
            CLOUD_GRAPH_URL=graph.base,
            CLOUD_ACCESS_TOKEN=TOKENS[0],
            CLOUD_ACCESS_TOKENS=f"{SECOND_NUMBER}={TOKENS[1]}",
            WEBHOOK_URL=sink.url("events"),
            WEBHOOK_SECRET=WEBHOOK_SECRET,
        )
        stack.enter_context(start_esteira(installation))
        wait_until(lambda: answers(f"http://127.0.0.1:{port}/healthz"))
        yield GatewaySystem(installation, f"http://127.0.0.1:{port}", whatsapp, waha, gowa, graph, elsewhere, sink)


def answers(url: str) -> bool:
    """Whether a server answers at this URL."""
    try:
        return httpx.get(url).is_success
    except httpx.TransportError:
        return False


def attachments_of(gateway: str, body: Any) -> list[Attachment]:
    """The attachments of a payload."""
    return list(GATEWAYS[gateway].parse(body, Settings(_env_file=None, default_session=DEFAULT_SESSION)).attachments)


def with_whatsapp(system: GatewaySystem, gateway: str, body: Any) -> tuple[Any, dict[str, bytes]]:
    """Puts encrypted files on WhatsApp's server; returns the payload and the contents by attachment id."""
    contents = {}
    for attachment in attachments_of(gateway, body):
        if attachment.direct_path:
            system.whatsapp.hold(attachment.direct_path, held_by_whatsapp(attachment))
            content = content_of(attachment)
        elif attachment.data:
            content = content_of(attachment)
        else:  # an unencrypted copy on a server of the gateway's owner
            content = CONTENTS[attachment.kind or "document"]()
            name = f"{attachment.id}.bin"
            system.elsewhere.files[name] = content
            body = replaced(body, attachment.url, system.elsewhere.url(name))
        contents[attachment.id] = content
    return body, contents


def with_waha(system: GatewaySystem, gateway: str, body: Any) -> tuple[Any, dict[str, bytes]]:
    """Puts files on WAHA's server or on another one, for S3; returns the payload and the contents by attachment id.

    What WAHA calls no media is fetched from WhatsApp's server.
    """
    if any(attachment.direct_path for attachment in attachments_of(gateway, body)):
        return with_whatsapp(system, gateway, body)
    contents = {}
    for attachment in attachments_of(gateway, body):
        if attachment.fault or not attachment.url:
            continue
        path = attachment.url.partition("?")[0].split("/", 3)[3]
        suffix = f".{path.rpartition('.')[2]}"
        content = BY_SUFFIX.get(suffix, CONTENTS[attachment.kind or "document"])()
        if "localhost" in attachment.url:
            system.waha.files[path] = content
        else:
            system.elsewhere.files[path] = content
            body = replaced(body, attachment.url, system.elsewhere.url(path))
        contents[attachment.id] = content
    return body, contents


def with_gowa(system: GatewaySystem, gateway: str, body: Any) -> tuple[Any, dict[str, bytes]]:
    """Puts files on GOWA's server; returns the payload and the contents by attachment id."""
    contents = {}
    for attachment in attachments_of(gateway, body):
        if attachment.remote_id:
            suffix = f".{attachment.remote_id.rpartition('.')[2]}"
            content = BY_SUFFIX.get(suffix, CONTENTS[attachment.kind or "image"])()
            contents[attachment.id] = system.gowa.files[attachment.remote_id] = content
    return body, contents


def with_graph(system: GatewaySystem, gateway: str, body: Any) -> tuple[Any, dict[str, bytes]]:
    """Puts files on the Graph API; returns the payload with their hashes, and the contents by attachment id."""
    contents = {}
    for attachment in attachments_of(gateway, body):
        if attachment.fault or not attachment.remote_id:
            continue
        content = CONTENTS[attachment.kind or "document"]()
        system.graph.media[attachment.remote_id] = (attachment.mimetype or "", content)
        system.graph.token_of[attachment.remote_id] = TOKENS[attachment.session == SECOND_NUMBER]
        body = hashed(body, attachment.remote_id, hashlib.sha256(content).digest())
        contents[attachment.id] = content
    return body, contents


# Functions that put the files of a gateway's samples on test servers; WhatsApp's server is the default.
PREPARE = {"waha": with_waha, "gowa": with_gowa, "cloud": with_graph}


def replaced(value: Any, old: Any, new: Any) -> Any:
    """The same JSON with every `old` value replaced."""
    if isinstance(value, dict):
        return {name: replaced(item, old, new) for name, item in value.items()}
    if isinstance(value, list):
        return [replaced(item, old, new) for item in value]
    return new if value == old else value


def hashed(value: Any, media_id: str, digest: bytes) -> Any:
    """The same JSON in which the media of this id has this hash, in hex where it was in hex before."""
    if isinstance(value, list):
        return [hashed(item, media_id, digest) for item in value]
    if not isinstance(value, dict):
        return value
    changed = {name: hashed(item, media_id, digest) for name, item in value.items()}
    if changed.get("id") == media_id and "sha256" in changed:
        changed["sha256"] = digest.hex() if len(changed["sha256"]) == 64 else base64.b64encode(digest).decode()
    return changed


@pytest.mark.parametrize("gateway", [name for name in GATEWAYS if name != "media"])
def test_every_sample_is_stored_or_rejected_with_its_fault(system: GatewaySystem, gateway: str) -> None:
    contents: dict[str, bytes] = {}
    faults: dict[str, str] = {}
    sent: dict[str, str] = {}
    for name in names(gateway):
        body, files = PREPARE.get(gateway, with_whatsapp)(system, gateway, payload(gateway, name))
        expected = attachments_of(gateway, body)
        reply = system.send(gateway, body)
        assert [accepted["id"] for accepted in reply["accepted"]] == [attachment.id for attachment in expected], name
        assert bool(reply["accepted"]) != name.startswith("ignored_"), name
        assert reply["accepted"] or reply["ignored"], name
        contents |= files
        faults |= {attachment.id: attachment.fault.code.value for attachment in expected if attachment.fault}
        sent |= {attachment.id: name for attachment in expected}
    assert contents.keys() | faults.keys() == sent.keys()
    assert len(contents) >= 5
    records = system.finished(list(sent))
    outcomes = {sent[id_]: (record.status.value, record.error_code) for id_, record in records.items()}
    assert outcomes == {
        name: ("rejected", faults[id_]) if id_ in faults else ("done", None) for id_, name in sent.items()
    }
    for media_id, content in contents.items():
        record = records[media_id]
        assert record.sha256 == hashlib.sha256(content).hexdigest()
        assert (system.installation.folder / "media" / (record.storage_key or "")).read_bytes() == content
    for media_id, record in records.items():
        wait_until(lambda media_id=media_id: system.events(media_id))
        assert {event["type"] for event in system.events(media_id)} == {f"media.{record.status.value}"}


def test_graph_url_is_requested_at_download_time_with_the_token_of_the_number(system: GatewaySystem) -> None:
    body, contents = with_graph(system, "cloud", renumbered(payload("cloud", "batch_of_two_numbers")))
    system.graph.requests.clear()
    ids = [accepted["id"] for accepted in system.send("cloud", hashless(body))["accepted"]]
    assert {record.status for record in system.finished(ids).values()} == {"done"}
    assert len(contents) == 3
    graph_requests = [request for request in system.graph.requests if request.path.startswith("/v23.0/")]
    tokens = sorted(request.headers["authorization"] for request in graph_requests)
    assert tokens == sorted(f"Bearer {token}" for token in (TOKENS[0], TOKENS[0], TOKENS[1]))


def renumbered(body: Any) -> Any:
    """The same messages with other ids: another test has sent the original ones."""
    return json.loads(json.dumps(body).replace("wamid.HBgN", "wamid.HBgM"))


def hashless(body: Any) -> Any:
    """The same messages without hashes: with them, files that another test has stored would not be downloaded."""
    return json.loads(json.dumps(body).replace('"sha256"', '"unknown"'))


def test_unknown_media_id_expires_and_a_replay_with_a_new_url_succeeds(system: GatewaySystem) -> None:
    body = json.loads(json.dumps(payload("cloud", "image")).replace("wamid.HBgN", "wamid.HBgL"))
    [attachment] = attachments_of("cloud", body)
    body = replaced(body, attachment.remote_id, "999000999000999")
    [accepted] = system.send("cloud", body)["accepted"]
    [record] = system.finished([accepted["id"]]).values()
    assert (record.status, record.error_code) == ("expired", "source_gone")
    [event] = wait_until(lambda: system.events(accepted["id"]))
    assert event["source"]["message_id"] == attachment.message_id
    assert event["source"]["chat"] == attachment.chat

    system.elsewhere.files["again.jpg"] = media_file("street.jpg")
    replacement = {"url": system.elsewhere.url("again.jpg"), "file_sha256": None}
    headers = {"Authorization": f"Bearer {API_TOKEN}"}
    answer = httpx.post(f"{system.url}/media/{accepted['id']}/replay", json=replacement, headers=headers)
    assert answer.status_code == 202, answer.text
    replayed = wait_until(
        lambda: [record for record in system.finished([accepted["id"]]).values() if record.status == "done"]
    )
    assert replayed[0].sha256 == hashlib.sha256(media_file("street.jpg")).hexdigest()


def test_url_on_another_host_is_asked_before_an_attachment_expires(system: GatewaySystem) -> None:
    sealed = encrypt(media_file("street.jpg"))
    system.whatsapp.answers["v/refused"] = Answer(403)
    system.elsewhere.files["sealed.enc"] = sealed.data
    fields = {"direct_path": "/v/refused?oe=7FFFFFFF", "url": system.elsewhere.url("sealed.enc"), **sealed.fields()}
    body = {"session": "another-shop", "message_id": "refused-1", "kind": "image", **fields}
    [accepted] = system.send("media", body)["accepted"]
    [record] = system.finished([accepted["id"]]).values()
    assert (record.status, record.sha256) == ("done", hashlib.sha256(media_file("street.jpg")).hexdigest())
    headers = {"Authorization": f"Bearer {API_TOKEN}"}
    shown = httpx.get(f"{system.url}/media/{accepted['id']}", headers=headers).json()
    fetched = next(entry for entry in shown["history"] if entry["stage"] == "fetch")
    assert (fetched["outcome"], fetched["message"]) == (
        "done",
        f"127.0.0.1 answers 403; 127.0.0.1:{system.elsewhere.port} has the file",
    )


def test_attachment_expires_if_the_url_on_another_host_is_dead(system: GatewaySystem) -> None:
    dead = f"127.0.0.1:{free_port()}"
    sealed = encrypt(b"nowhere")
    fields = {"direct_path": "/v/nowhere", "url": f"http://{dead}/nowhere.enc", **sealed.fields()}
    body = {"session": "another-shop", "message_id": "nowhere-1", "kind": "image", **fields}
    [accepted] = system.send("media", body)["accepted"]
    [record] = system.finished([accepted["id"]]).values()
    assert (record.status, record.error_code) == ("expired", "source_gone")
    assert record.error == "127.0.0.1 answers 404; its other source: the server refuses connections or is unreachable"
    wait_until(lambda: [event for event in system.events(accepted["id"]) if event["type"] == "media.expired"])
