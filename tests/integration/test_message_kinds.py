"""Messages of unusual kinds, from the gateway's payload through the five steps to their ending."""

from __future__ import annotations

import base64
import functools
import io
import itertools
import json
import zipfile
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import pytest

from actors.execution.inline import run_inline
from pipeline.gateways import GATEWAYS
from pipeline.http_client.adapter import _system_tls
from pipeline.models import Record
from tests.support.gateway_servers import WhatsAppServer
from tests.support.payloads import media_file
from tests.support.system import RunningSystem
from tests.support.valkey import running_valkey
from tests.support.whatsapp_media import encrypt

_number = itertools.count(1)
PATH = "/v/t62.7118-24/1_n.enc"
PHOTO, PDF, STICKER = (media_file(name) for name in ("photo.jpg", "report.pdf", "sticker.webp"))
THUMBNAIL = base64.b64encode(PHOTO).decode()


class Phone(NamedTuple):
    """A system, and WhatsApp's server from which it fetches."""

    system: RunningSystem
    whatsapp: WhatsAppServer

    def receive(self, gateway: str, payload: Any) -> list[Record]:
        """The rows of a payload's attachments after all five steps."""
        parsed = GATEWAYS[gateway].parse(payload, self.system.settings)
        ids = [self.system.hook.accept(attachment).id for attachment in parsed.attachments]
        for media_id in ids:
            run_inline(self.system.services, media_id)
        return [self.system.record(media_id) for media_id in ids]


@pytest.fixture(scope="module")
def phone(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Phone]:
    folder = tmp_path_factory.mktemp("kinds")
    with running_valkey() as redis, WhatsAppServer() as whatsapp, pytest.MonkeyPatch.context() as monkeypatch:
        env = whatsapp.env(folder)
        monkeypatch.setenv("SSL_CERT_FILE", env.pop("SSL_CERT_FILE"))
        _system_tls.cache_clear()  # an earlier test of this process may have read other certificates
        system = RunningSystem(folder, redis.url, {**env, "ALLOWED_TYPES": "webp,jpeg,pdf,zip"})
        yield Phone(system, whatsapp)
        system.close()
    _system_tls.cache_clear()


def node(plain: bytes, kind: str, mimetype: str | None) -> tuple[dict[str, Any], bytes]:
    """The fields of an encrypted file in a message, and its ciphertext."""
    encrypted = encrypt(plain, kind=kind)
    fields = {"directPath": PATH, "mediaKey": encrypted.media_key, "fileSha256": encrypted.file_sha256}
    return {**fields, "mimetype": mimetype, "fileLength": str(len(plain))}, encrypted.data


def evolution(content: Any, event: str = "messages.upsert") -> dict[str, Any]:
    key = {"remoteJid": "100000000000001@lid", "remoteJidAlt": "5511900000002@s.whatsapp.net"}
    key["id"] = f"3EB0{next(_number)}"
    return {
        "event": event,
        "instance": "shop",
        "data": {"key": key, "message": content, "messageTimestamp": 1796000000},
    }


def waha(data: Any) -> dict[str, Any]:
    message = {
        "id": f"false_5581@c.us_3EB0{next(_number)}",
        "from": "5581@c.us",
        "hasMedia": False,
        "media": None,
        "_data": data,
    }
    return {"event": "message", "session": "shop", "payload": message}


def archive() -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as pack:
        pack.writestr("a.webp", STICKER)
    return buffer.getvalue()


def within(fields: dict[str, Any], *names: str) -> dict[str, Any]:
    """The fields in objects of these names, the outermost first."""
    return functools.reduce(lambda inner, name: {name: inner}, reversed(names), fields)


def flow(fields: dict[str, Any]) -> dict[str, Any]:
    names = {"direct_path": "directPath", "media_key": "mediaKey", "mime_type": "mimetype", "sha256": "fileSha256"}
    answer = {"photo_picker": [{"file_name": "a.jpg", **{name: fields[key] for name, key in names.items()}}]}
    response = {"nativeFlowResponseMessage": {"name": "flow", "paramsJson": json.dumps(answer)}}
    return evolution({"interactiveResponseMessage": response})


JPEG, AS_PDF = (PHOTO, "image", "image/jpeg"), (PDF, "document", "application/pdf")
PRODUCT = "productMessage", "product", "productImage"
# By name: the file, the label of its keys, its type, and the payload that its node becomes.
KINDS: dict[str, tuple[bytes, str, str | None, Callable[[dict[str, Any]], Any]]] = {
    "view once": (*JPEG, lambda it: evolution(within(it, "viewOnceMessageV2", "message", "imageMessage"))),
    "product": (*JPEG, lambda it: evolution(within(it, *PRODUCT))),
    "card": (*JPEG, lambda it: evolution(within(it, "interactiveMessage", "header", "imageMessage"))),
    "flow": (*JPEG, flow),
    "sticker pack": (archive(), "sticker pack", None, lambda it: evolution(within(it, "stickerPackMessage"))),
    "history": (*JPEG, lambda it: evolution(within(it, "imageMessage"), "messages.set")),
    "unknown node": (*AS_PDF, lambda it: evolution(within(it, "messageOfTheFuture", "file"))),
    "WAHA says no": (*AS_PDF, lambda it: waha(within(it, "message", "documentMessage"))),
    "WEBJS says no": (*JPEG, lambda it: waha({**it, "type": "image", "filehash": it["fileSha256"]})),
}


@pytest.mark.parametrize("kind", KINDS)
def test_medium_is_stored_decrypted(phone: Phone, kind: str) -> None:
    plain, label, mimetype, payload_of = KINDS[kind]
    fields, ciphertext = node(plain, label, mimetype)
    phone.whatsapp.hold(PATH, ciphertext)
    [record] = phone.receive("evolution" if "says" not in kind else "waha", payload_of(fields))
    assert (record.status, record.error_code) == ("done", None)
    assert b"".join(phone.system.services.storage.chunks(record.storage_key or "")) == plain
    assert record.from_history == (kind == "history")


def test_sticker_of_a_channel_has_an_empty_key(phone: Phone) -> None:
    fields, _ = node(STICKER, "sticker", "image/webp")
    phone.whatsapp.hold(PATH, STICKER)
    [record] = phone.receive("evolution", evolution({"stickerMessage": {**fields, "mediaKey": ""}}))
    assert (record.status, record.kind) == ("done", "sticker")


def test_number_behind_a_lid_is_in_the_row(phone: Phone) -> None:
    fields, ciphertext = node(PHOTO, "image", "image/jpeg")
    phone.whatsapp.hold(PATH, ciphertext)
    [record] = phone.receive("evolution", evolution({"imageMessage": fields}))
    assert (record.chat, record.chat_number) == ("100000000000001@lid", "5511900000002")


@pytest.mark.parametrize(
    ("gateway", "payload"),
    [
        ("wppconnect", {"event": "onselfmessage", "session": "s", "id": "a", "type": "document", "body": THUMBNAIL,
                        "mimetype": "application/pdf", "filename": "a.pdf", "fromMe": True}),
        ("waha", waha({"message": {"documentMessage": {"jpegThumbnail": THUMBNAIL, "mimetype": "application/pdf"}}})),
        ("evolution", evolution({"documentMessage": {"jpegThumbnail": THUMBNAIL, "thumbnailDirectPath": PATH}})),
        ("gowa", {"event": "message", "device_id": "s", "payload": {
            "id": "a", "from": "5581@s.whatsapp.net", "document": {"url": "", "thumbnail": THUMBNAIL}}}),
        ("cloud", {"entry": [{"changes": [{"value": {"metadata": {"phone_number_id": "1"}, "messages": [
            {"id": "a", "from": "5581", "type": "document", "document": {"thumbnail": THUMBNAIL}}]}}]}]}),
    ],
)  # fmt: skip
def test_thumbnail_is_never_stored_as_the_file(phone: Phone, gateway: str, payload: Any) -> None:
    before = phone.system.stored_files()
    [record] = phone.receive(gateway, payload)
    assert (record.status, record.error_code) == ("rejected", "no_source")
    assert phone.system.stored_files() == before
