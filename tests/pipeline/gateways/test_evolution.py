"""Evolution API: every way its messages carry media, and what it adds to them."""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import HealthCheck, given
from hypothesis import settings as trying
from hypothesis import strategies as st

from pipeline.errors import Code, PayloadError, PermanentError
from pipeline.gateways import GATEWAYS, ParsedPayload, evolution
from pipeline.models import Attachment, Kind
from tests.support.checking import settings
from tests.support.payloads import JSON, content_of, media_file, mutations, names, payload

SETTINGS = settings()
FEW = settings(max_batch=5)
BYTES = bytes(range(32))
PATH = "/v/t62.7118-24/1_2_n.enc?ccb=11-4&oe=6B0F2A80"
PICTURE = {"url": "https://mmg.whatsapp.net/x", "mimetype": "image/jpeg", "mediaKey": "AA==", "directPath": PATH}
COPY = "https://minio.example/photo.jpg?X-Amz-Signature=00"

# What each sample comes to: the file, its kind and the message's id without what all have in front.
EXPECTED: dict[str, list[tuple[str, Kind, str]]] = {
    "album_as_list_by_events": [("photo.jpg", Kind.IMAGE, "11"), ("street.jpg", Kind.IMAGE, "12")],
    "cloud_channel_with_base64": [("report.pdf", Kind.DOCUMENT, "wamid.HBgNNTU4MTk5MDAwMDAwMRUCABIYFDNFQjA=")],
    "document_with_caption_as_buffers": [("report.pdf", Kind.DOCUMENT, "03")],
    "image_as_base64": [("photo.jpg", Kind.IMAGE, "01")],
    "messages_under_messages": [("photo.jpg", Kind.IMAGE, "20"), ("voice.ogg", Kind.AUDIO, "21")],
    "own_video_note_from_another_device": [("clip.mp4", Kind.VIDEO, "05")],
    "sticker_with_the_file_as_base64": [("sticker.webp", Kind.STICKER, "06")],
    "template_with_a_picture": [("photo.jpg", Kind.IMAGE, "30")],
    "view_once_in_ephemeral_video": [("clip.mp4", Kind.VIDEO, "04")],
    "voice_note_as_numbered_bytes": [("voice.ogg", Kind.PTT, "02")],
}
IGNORED = {"album_as_list_by_events": 2, "messages_under_messages": 2, "ignored_text": 1, "ignored_message_status": 1}


def parsed(body: Any, **given_: Any) -> ParsedPayload:
    return evolution.parse(body, settings(**given_) if given_ else SETTINGS)


def upsert(content: Any, **fields: Any) -> dict[str, Any]:
    key = {"remoteJid": "5581990000001@s.whatsapp.net", "fromMe": False, "id": "3EB0"}
    return {"event": "messages.upsert", "instance": "shop", "data": {"key": key, "message": content, **fields}}


def one(content: Any, **fields: Any) -> Attachment:
    (attachment,) = parsed(upsert(content, **fields)).attachments
    return attachment


# --- samples ---


@pytest.mark.parametrize("name", [name for name in names("evolution") if name != "copy_in_minio"])
def test_every_sample_leads_to_its_files(name: str) -> None:
    found = parsed(payload("evolution", name))
    assert found.ignored == IGNORED.get(name, 0)
    assert [
        (content_of(each), each.kind, each.message_id.removeprefix("3EB0A1B2C3D4E5F600")) for each in found.attachments
    ] == [(media_file(file), kind, message_id) for file, kind, message_id in EXPECTED.get(name, [])]
    for each in found.attachments:
        assert each.fault is None
        assert (each.gateway, each.session, each.timestamp) == ("evolution", "loja-recife", 1794740000)
        assert each.file_sha256 == hashlib.sha256(content_of(each)).hexdigest()
        assert each.mimetype
        assert GATEWAYS[each.gateway] is evolution


def test_a_message_keeps_what_it_says_of_its_file() -> None:
    (image,) = parsed(payload("evolution", "image_as_base64")).attachments
    assert (image.caption, image.mimetype, image.size) == ("A fachada nova", "image/jpeg", len(media_file("photo.jpg")))
    assert image.chat == image.sender == "5581990000001@s.whatsapp.net"
    assert image.expiry == 0x6B0F2A80
    (report,) = parsed(payload("evolution", "document_with_caption_as_buffers")).attachments
    assert (report.filename, report.caption) == ("Relatório de outubro.pdf", "Segue o relatório")


@pytest.mark.parametrize(
    ("fields", "name"),
    [
        ({"fileName": "a.pdf", "title": "b.pdf"}, "a.pdf"),
        ({"fileName": "", "title": "b.pdf"}, "b.pdf"),
        ({"filename": "c.pdf"}, "c.pdf"),
        ({}, None),
    ],
)
def test_a_document_has_its_name_or_its_title(fields: dict[str, str], name: str | None) -> None:
    assert one({"documentMessage": {**PICTURE, **fields}}).filename == name


def test_an_instance_comes_by_its_name_or_as_an_object() -> None:
    body = upsert({"imageMessage": PICTURE})
    (named,) = parsed({**body, "instance": {"instanceName": "shop", "instanceId": "x"}}).attachments
    assert named.id == one({"imageMessage": PICTURE}).id


def test_a_member_may_be_named_beside_the_key() -> None:
    assert one({"imageMessage": PICTURE}, participant="5582@s.whatsapp.net").sender == "5582@s.whatsapp.net"


def test_the_sender_is_the_member_of_a_group_and_the_session_itself_of_its_own() -> None:
    (voice,) = parsed(payload("evolution", "voice_note_as_numbered_bytes")).attachments
    assert (voice.chat, voice.sender) == ("120363000000000001@g.us", "5581990000002@s.whatsapp.net")
    (own,) = parsed(payload("evolution", "own_video_note_from_another_device")).attachments
    assert (own.chat, own.sender) == ("5581990000001@s.whatsapp.net", "5581980000000@s.whatsapp.net")


# --- where the bytes lie ---


def test_a_copy_of_the_server_is_fetched_without_a_key_where_whatsapp_has_no_path() -> None:
    (image,) = parsed(payload("evolution", "copy_in_minio")).attachments
    assert (image.media_key, image.direct_path) == (None, None)
    source = evolution.source(image, None, SETTINGS)
    assert source.url.startswith("https://minio.example/evolution/")
    assert not source.headers
    assert not source.credentials


@pytest.mark.parametrize(
    ("fields", "place"),
    [
        ({}, (PATH, "AA==")),
        ({"directPath": ""}, (None, "AA==")),
        ({"url": None}, (PATH, "AA==")),
        ({"mediaKey": None}, (PATH, None)),
    ],
)
def test_whatsapps_own_bytes_go_before_the_copy(fields: dict[str, Any], place: tuple[Any, Any]) -> None:
    image = one({"imageMessage": {**PICTURE, **fields}, "mediaUrl": COPY})
    assert (image.direct_path, image.media_key) == place
    assert image.url != COPY


@pytest.mark.parametrize(
    "fields", [{"url": None}, {"url": "https://web.whatsapp.net"}, {"mediaKey": None}, {"url": {}}]
)
def test_the_copy_is_taken_where_whatsapps_cannot_be(fields: dict[str, Any]) -> None:
    image = one({"imageMessage": {**PICTURE, "directPath": None, **fields}, "mediaUrl": COPY})
    assert (image.url, image.direct_path, image.media_key) == (COPY, None, None)


@pytest.mark.parametrize("inner", [True, False])
def test_a_file_that_comes_along_is_taken_from_either_place(inner: bool) -> None:
    file = base64.b64encode(b"whole").decode()
    within, beside = ({"base64": file}, {}) if inner else ({}, {"base64": file})
    assert one({"imageMessage": PICTURE, **within}, **beside).data == file


def test_what_comes_along_is_the_first_of_several_files() -> None:
    card = {"header": {"imageMessage": PICTURE}}
    other = {"header": {"videoMessage": {**PICTURE, "directPath": "/v/other"}}}
    message = {"interactiveMessage": {"carouselMessage": {"cards": [card, other, card]}}, "base64": "d2hvbGU="}
    first, second = parsed(upsert(message)).attachments
    assert (first.kind, first.part, first.data) == (Kind.IMAGE, 0, "d2hvbGU=")
    assert (second.kind, second.part, second.data, second.direct_path) == (Kind.VIDEO, 1, None, "/v/other")
    assert first.id != second.id


@pytest.mark.parametrize("path", ["", None, [], {}])
def test_media_without_a_path_are_not_taken_for_the_same(path: Any) -> None:
    cards = [{"imageMessage": {"url": "https://web.whatsapp.net", "directPath": path}}] * 2
    assert len({each.id for each in parsed(upsert({"interactiveMessage": {"cards": cards}})).attachments}) == 2


def test_a_file_that_is_not_base64_is_named_unless_it_lies_elsewhere_too() -> None:
    assert one({"imageMessage": PICTURE, "base64": "§"}).fault is None
    fault = one({"imageMessage": {"mimetype": "image/jpeg"}, "base64": "§"}).fault
    assert fault is not None
    assert (fault.code, fault.message) == (Code.BAD_PAYLOAD, "data: is not base64")


@pytest.mark.parametrize("nothing", [{}, "gone", 5, []])
def test_media_without_anything_are_an_attachment_that_ends_without_a_source(nothing: Any) -> None:
    image = one({"imageMessage": nothing})
    assert (image.kind, image.url, image.direct_path, image.data) == (Kind.IMAGE, None, None, None)
    with pytest.raises(PermanentError) as caught:
        evolution.source(image, None, SETTINGS)
    assert caught.value.code == Code.NO_SOURCE


# --- message types ---


@pytest.mark.parametrize(
    ("name", "fields", "kind"),
    [
        ("imageMessage", {}, Kind.IMAGE),
        ("videoMessage", {"gifPlayback": True}, Kind.VIDEO),
        ("ptvMessage", {}, Kind.VIDEO),
        ("audioMessage", {}, Kind.AUDIO),
        ("audioMessage", {"ptt": False}, Kind.AUDIO),
        ("audioMessage", {"ptt": True}, Kind.PTT),
        ("audioMessage", {"voice": True}, Kind.PTT),
        ("documentMessage", {"ptt": True}, Kind.DOCUMENT),
        ("stickerMessage", {}, Kind.STICKER),
        ("lottieStickerMessage", {}, Kind.STICKER),
    ],
)
def test_kinds(name: str, fields: dict[str, Any], kind: Kind) -> None:
    assert one({name: {**PICTURE, **fields}}).kind == kind


WRAPPERS = [
    "documentWithCaptionMessage",
    "viewOnceMessage",
    "viewOnceMessageV2",
    "viewOnceMessageV2Extension",
    "ephemeralMessage",
    "editedMessage",
    "deviceSentMessage",
    "groupMentionedMessage",
    "associatedChildMessage",
    "lottieStickerMessage",
    "botInvokeMessage",
    "groupStatusMessageV2",
]


@given(st.lists(st.sampled_from(WRAPPERS), max_size=7))
def test_media_are_found_in_wrappers_of_any_kind_and_order(wrappers: list[str]) -> None:
    content: dict[str, Any] = {"stickerMessage": PICTURE}
    for name in wrappers:
        content = {name: {"message": content}, "messageContextInfo": {"deviceListMetadata": {}}}
    assert (one(content).kind, one(content).direct_path) == (Kind.STICKER, PATH)


@pytest.mark.parametrize("wrap", [lambda content: [content], lambda content: {"viewOnceMessage": {"message": content}}])
def test_what_is_wrapped_too_deeply_is_ignored(wrap: Callable[[Any], Any]) -> None:
    content: Any = {"imageMessage": PICTURE}
    for _ in range(400):
        content = wrap(content)
    assert parsed(upsert(content)) == ParsedPayload(ignored=1)


QUOTE = {"contextInfo": {"quotedMessage": {"imageMessage": PICTURE}}}


@pytest.mark.parametrize(
    "content",
    [
        {"extendedTextMessage": {"text": "esta", **QUOTE}},
        {"extendedTextMessage": {"text": "esta", "quotedMessage": {"imageMessage": PICTURE}}},
        {"conversation": "esta", **QUOTE},
        {"extendedTextMessage": {"text": "esta", "contextInfo": {"externalAdReply": {"imageMessage": PICTURE}}}},
        {"protocolMessage": {"type": 14, "editedMessage": {"imageMessage": PICTURE}}},
        {"editedMessage": {"message": {"protocolMessage": {"editedMessage": {"imageMessage": PICTURE}}}}},
        {"albumMessage": {"expectedImageCount": 3}},
        {"imageMessage": None},
        {},
        None,
        "text",
    ],
)
def test_what_a_message_quotes_or_merely_speaks_of_is_not_its_own(content: Any) -> None:
    assert parsed(upsert(content)) == ParsedPayload(ignored=1)


@pytest.mark.parametrize(
    ("event", "known"),
    [
        ("messages.upsert", True),
        ("MESSAGES_UPSERT", True),
        ("messages-upsert", True),
        ("send.message", True),
        ("SEND_MESSAGE", True),
        ("messages.update", False),
        ("messages.set", False),
        ("connection.update", False),
        ("", False),
        (None, False),
        (["messages.upsert"], False),
    ],
)
def test_events_that_are_no_messages_are_ignored(event: Any, known: bool) -> None:
    body = {**upsert({"imageMessage": PICTURE}), "event": event}
    assert (len(parsed(body).attachments), parsed(body).ignored) == ((1, 0) if known else (0, 1))


# --- dialects ---

FORMS = {
    "base64": lambda raw: base64.b64encode(raw).decode(),
    "numbered": lambda raw: {str(index): byte for index, byte in enumerate(raw)},
    "buffer": lambda raw: {"type": "Buffer", "data": list(raw)},
    "numbers": list,
}


@given(*[st.sampled_from(sorted(FORMS))] * 3)
def test_bytes_mean_the_same_in_every_form(key: str, plain: str, encrypted: str) -> None:
    fields = {
        "mediaKey": FORMS[key](BYTES),
        "fileSha256": FORMS[plain](BYTES),
        "fileEncSha256": FORMS[encrypted](BYTES[::-1]),
    }
    image = one({"imageMessage": {**PICTURE, **fields}})
    assert image.media_key == base64.b64encode(BYTES).decode()
    assert (image.file_sha256, image.file_enc_sha256, image.fault) == (BYTES.hex(), BYTES[::-1].hex(), None)


@given(st.integers(1, 2**53))
def test_numbers_mean_the_same_in_every_form(number: int) -> None:
    low = (number & 0xFFFFFFFF) - (2**32 if number & 0x80000000 else 0)  # JavaScript's halves are signed
    for written in (number, str(number), {"low": low, "high": number >> 32, "unsigned": True}):
        image = one({"imageMessage": {**PICTURE, "fileLength": written}}, messageTimestamp=written)
        assert (image.size, image.timestamp, image.fault) == (number, number, None)


@pytest.mark.parametrize("nothing", [0, "0", "", None, {"low": 0, "high": 0, "unsigned": True}])
def test_a_length_of_nothing_is_none(nothing: Any) -> None:
    assert one({"imageMessage": {**PICTURE, "fileLength": nothing}}).size is None


@pytest.mark.parametrize("nothing", ["", {}, [], None])
def test_an_empty_hash_is_none(nothing: Any) -> None:
    image = one({"imageMessage": {**PICTURE, "fileSha256": nothing, "fileEncSha256": nothing}})
    assert (image.file_sha256, image.file_enc_sha256, image.fault) == (None, None, None)


# --- bad input ---


def test_a_batch_has_a_limit() -> None:
    message = upsert({"imageMessage": PICTURE})["data"]
    body = {**upsert(None), "data": [message] * 3}
    assert len(parsed(body, max_batch=3).attachments) == 3
    with pytest.raises(PayloadError, match="at most 2 messages"):
        parsed(body, max_batch=2)
    with pytest.raises(PayloadError, match="at most 2 messages"):
        parsed({**body, "data": [upsert({"conversation": "Olá"})["data"]] * 3}, max_batch=2)


def test_so_have_the_media_of_its_messages() -> None:
    cards = [{"imageMessage": {**PICTURE, "directPath": f"/v/{number}"}} for number in range(3)]
    body = {**upsert(None), "data": [upsert(cards)["data"], upsert(cards)["data"]]}
    assert len(parsed(body, max_batch=6).attachments) == 6
    with pytest.raises(PayloadError, match="at most 5 messages"):
        parsed(body, max_batch=5)
    with pytest.raises(PayloadError, match="at most 2 messages"):
        parsed(upsert(cards), max_batch=2)


@pytest.mark.parametrize("data", [None, [], {}, 5, "text", [None], [[]], {"messages": None}, {"messages": []}])
def test_an_event_without_messages_counts_as_one_ignored(data: Any) -> None:
    assert parsed({**upsert(None), "data": data}) == ParsedPayload(ignored=1)


def survives(body: Any) -> None:
    """Whatever it is: attachments that can be written down and looked for, or a PayloadError."""
    try:
        found = evolution.parse(body, FEW)
    except PayloadError:
        return
    for each in found.attachments:
        assert Attachment.model_validate_json(each.model_dump_json()) == each
    assert found.attachments or found.ignored


@given(JSON)
def test_any_json_at_all_is_survived(body: Any) -> None:
    survives(body)
    survives({**upsert(body), "data": body})
    survives(upsert({"imageMessage": body}))


@given(mutations("evolution"))
@trying(max_examples=300, suppress_health_check=[HealthCheck.too_slow])
def test_samples_with_something_else_in_them_are_survived(body: Any) -> None:
    survives(body)


@pytest.mark.parametrize("field", ["mediaKey", "fileSha256", "fileLength", "url", "directPath", "caption", "mimetype"])
def test_a_field_that_is_nested_without_end_is_survived(field: str) -> None:
    nested: Any = []
    for _ in range(900):
        nested = [nested]
    survives(upsert({"imageMessage": {**PICTURE, field: nested}}))
    survives(upsert({"imageMessage": PICTURE}, key={"id": nested, "remoteJid": nested}))
