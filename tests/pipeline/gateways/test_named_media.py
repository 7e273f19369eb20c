"""What names a medium becomes an attachment, and a preview is never taken for the file."""

from __future__ import annotations

import base64
from typing import Any

import pytest
from hypothesis import given

from pipeline.errors import Code, PayloadError
from pipeline.gateways import GATEWAYS, ParsedPayload
from pipeline.models import Attachment, Kind
from tests.support.checking import settings
from tests.support.http_client import local_http_client
from tests.support.json_shapes import ANY_JSON
from tests.support.payloads import media_file

KEY = base64.b64encode(bytes(range(32))).decode()
HASH = base64.b64encode(bytes(range(1, 33))).decode()
PATH = "/v/t62.7119-24/1_n.enc?oe=7FFFFFFF"
NODE = {"directPath": PATH, "mediaKey": KEY, "fileSha256": HASH, "fileLength": "345", "mimetype": "application/was"}
GOWS_NODE = {"URL": f"https://mmg.whatsapp.net{PATH}", "mediaKey": KEY, "fileSHA256": HASH, "fileEncSHA256": HASH}
WEBJS = {"type": "video", "mimetype": "video/mp4", "size": 5, "directPath": PATH, "mediaKey": KEY, "filehash": HASH}
PHOTO = base64.b64encode(media_file("photo.jpg")).decode()


def waha(data: Any, **fields: Any) -> ParsedPayload:
    message = {"id": "false_5581@c.us_3EB0", "from": "5581@c.us", "hasMedia": False, "media": None, "_data": data}
    event = {"event": "message", "session": "shop", "payload": {**message, **fields}}
    return GATEWAYS["waha"].parse(event, settings(max_batch=3))


def only(parsed: ParsedPayload) -> Attachment:
    assert parsed.ignored == 0
    (attachment,) = parsed.attachments
    return attachment


@pytest.mark.parametrize(
    ("data", "kind"),
    [
        ({"message": {"lottieStickerMessage": {"message": {"stickerMessage": NODE}}}}, Kind.STICKER),
        ({"message": {"documentMessage": {**NODE, "fileName": "lista.docx"}}}, Kind.DOCUMENT),
        ({"message": {"templateMessage": {"hydratedTemplate": {"imageMessage": NODE}}}}, Kind.IMAGE),
        ({"Message": {"audioMessage": {**NODE, "PTT": True}}, "Info": {"MediaType": "ptt"}}, Kind.PTT),
        ({"Message": {"videoMessage": GOWS_NODE}}, Kind.VIDEO),
        (WEBJS, Kind.VIDEO),
        ({**WEBJS, "type": "gif"}, Kind.VIDEO),
    ],
)
@pytest.mark.parametrize("has_media", [False, None, True])
def test_waha_media_of_the_engine_are_fetched_from_whatsapp(data: Any, kind: Kind, has_media: bool | None) -> None:
    attachment = only(waha(data, hasMedia=has_media))
    assert (attachment.kind, attachment.fault, attachment.media_key) == (kind, None, KEY)
    assert attachment.file_sha256 == bytes(range(1, 33)).hex()
    source = GATEWAYS["waha"].source(attachment, local_http_client(), settings())
    assert source.url == f"https://mmg.whatsapp.net{PATH}"
    assert attachment.expiry == 0x7FFFFFFF


def test_waha_fields_come_from_the_engine_where_waha_has_none() -> None:
    data = {"message": {"documentMessage": {**NODE, "fileName": "lista.docx", "caption": "segue"}}}
    attachment = only(waha(data, body=""))
    assert (attachment.filename, attachment.caption, attachment.size) == ("lista.docx", "segue", 345)


@pytest.mark.parametrize(
    "data",
    [
        {"type": "video", "body": PHOTO},
        {"type": "image", "directPath": PATH},
        {"type": "sticker", "mediaKey": KEY, "filehash": HASH},
        {"message": {"imageMessage": {}}},
        {"message": {"imageMessage": {"url": "https://web.whatsapp.net", "mediaKey": KEY}}},
        {"message": {"imageMessage": {"directPath": "", "mediaKey": {"type": "Buffer", "data": []}, "url": PATH}}},
        {"Info": {"MediaType": "document"}},
    ],
)
def test_waha_media_that_cannot_be_had_have_a_reason(data: Any) -> None:
    attachment = only(waha(data))
    assert attachment.fault is not None
    assert attachment.fault.code == Code.NO_SOURCE


@pytest.mark.parametrize("media", [{"mimetype": "image/png", "url": None}, {"url": "", "filename": "a.pdf"}])
def test_waha_media_without_a_url_have_a_reason(media: dict[str, Any]) -> None:
    fault = only(waha(None, media=media)).fault
    assert fault is not None
    assert fault.code == Code.NO_SOURCE


def test_waha_error_is_the_reason_whatever_the_record_has() -> None:
    fault = only(waha(WEBJS, hasMedia=True, media={"url": None, "error": "404"})).fault
    assert fault is not None
    assert fault.code == Code.GATEWAY_ERROR


def test_waha_file_is_preferred_to_the_record() -> None:
    attachment = only(waha(WEBJS, media={"url": "http://localhost:3000/api/files/x.mp4"}))
    assert (attachment.url, attachment.media_key) == ("http://localhost:3000/api/files/x.mp4", None)


@pytest.mark.parametrize(
    "data",
    [
        {"type": "chat"},
        {"message": {"conversation": "oi"}},
        {"message": {"extendedTextMessage": {"contextInfo": {"quotedMessage": {"imageMessage": NODE}}}}},
        {"message": {"protocolMessage": {"editedMessage": {"imageMessage": NODE}}}},
        {"Info": {"Type": "media", "MediaType": "url"}},
        None,
        [],
        "text",
    ],
)
@pytest.mark.parametrize("media", [None, {}, {"url": None, "filename": ""}])
def test_waha_texts_are_ignored(data: Any, media: Any) -> None:
    assert waha(data, media=media) == ParsedPayload(ignored=1)


def test_waha_cards_are_parts_within_the_limit() -> None:
    cards = [{"header": {"imageMessage": {**NODE, "directPath": f"/v/{n}"}}} for n in range(4)]
    content = {"interactiveMessage": {"cards": cards[:3]}}
    parsed = waha({"message": content})
    assert [attachment.part for attachment in parsed.attachments] == [0, 1, 2]
    assert len({attachment.id for attachment in parsed.attachments}) == 3
    with pytest.raises(PayloadError, match="MAX_BATCH"):
        waha({"message": {"interactiveMessage": {"cards": cards}}})


@given(ANY_JSON)
def test_waha_record_of_any_form_is_parsed(data: Any) -> None:
    parsed = waha(data)
    assert parsed.attachments or parsed.ignored


# --- Evolution API ---


def evolution(**data: Any) -> ParsedPayload:
    key = {"remoteJid": "5581@s.whatsapp.net", "id": "3EB0"}
    body = {"event": "messages.upsert", "instance": "shop", "data": {"key": key, **data}}
    return GATEWAYS["evolution"].parse(body, settings())


@pytest.mark.parametrize("content", [None, {}, {"messageContextInfo": {}}])
def test_evolution_type_names_a_medium_without_its_node(content: Any) -> None:
    attachment = only(evolution(messageType="documentMessage", message=content))
    assert (attachment.kind, attachment.direct_path, attachment.url) == (Kind.DOCUMENT, None, None)


def test_evolution_copy_names_a_medium_without_its_node() -> None:
    assert only(evolution(message={"mediaUrl": "https://copy/x"})).url == "https://copy/x"
    assert only(evolution(message={"base64": PHOTO})).data == PHOTO
    assert evolution(messageType="conversation", message={"conversation": "oi"}) == ParsedPayload(ignored=1)


# --- WPPConnect ---


def wppconnect(**fields: Any) -> ParsedPayload:
    message = {"event": "onselfmessage", "session": "shop", "id": "true_5581@c.us_3EB0", "type": "document", **fields}
    return GATEWAYS["wppconnect"].parse(message, settings())


def is_no_source(attachment: Attachment) -> bool:
    return not (attachment.data or attachment.url or attachment.direct_path or attachment.fault)


@pytest.mark.parametrize(
    "fields",
    [
        {"mimetype": "application/pdf", "filename": "proposta.pdf"},
        {"mimetype": "video/mp4", "type": "video"},
        {"mimetype": "image/webp", "type": "sticker"},
        {"mimetype": "audio/wav", "type": "audio"},
        {"type": "video"},
        {"type": "document"},
        {"filename": "proposta.pdf"},
        {"mimetype": "application/octet-stream", "filename": "proposta.pdf"},
        {"mimetype": "image/jpeg", "type": "image", "fromMe": True},
        {"mimetype": "image/png", "type": "image"},
    ],
)
@pytest.mark.parametrize("body", [PHOTO, f"data:image/jpeg;base64,{PHOTO}", PHOTO[:40]])
def test_preview_in_the_body_is_not_the_file(fields: dict[str, Any], body: str) -> None:
    assert is_no_source(only(wppconnect(body=body, **fields)))


@pytest.mark.parametrize(
    ("fields", "file"),
    [
        ({"mimetype": "application/pdf"}, "report.pdf"),
        ({"mimetype": "image/jpeg", "type": "image"}, "photo.jpg"),
        ({"mimetype": "image/jpg", "type": "image"}, "photo.jpg"),
        ({"type": "image"}, "photo.jpg"),
        ({"mimetype": "image/jpeg", "filename": "obra.jpg"}, "photo.jpg"),
        ({"mimetype": "application/octet-stream", "filename": "obra.jpg"}, "photo.jpg"),
        ({"mimetype": "audio/ogg; codecs=opus", "type": "ptt"}, "voice.ogg"),
        ({"mimetype": "image/webp", "type": "sticker"}, "sticker.webp"),
    ],
)
def test_whole_file_in_the_body_is_the_file(fields: dict[str, Any], file: str) -> None:
    body = base64.b64encode(media_file(file)).decode()
    assert only(wppconnect(event="onmessage", body=body, **fields)).data == body
    own = {"fromMe": True, "size": len(media_file(file)), "body": body}
    assert only(wppconnect(**own, **fields)).data == body


@pytest.mark.parametrize("fields", [{"isMedia": True}, {"isMMS": True}, {"directPath": PATH, "mediaKey": KEY}])
def test_media_of_an_unknown_type_are_not_ignored(fields: dict[str, Any]) -> None:
    attachment = only(wppconnect(**{**fields, "type": "template"}))
    assert (attachment.kind, attachment.direct_path) == (None, fields.get("directPath"))
    assert wppconnect(**{**fields, "type": "chat"}) == ParsedPayload(ignored=1)
