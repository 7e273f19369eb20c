"""Evolution API's hook: the message types with media, encodings of fields, and files that the server adds."""

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

# The media of each sample: the file, its kind and its message id without the common prefix.
EXPECTED: dict[str, list[tuple[str, Kind | None, str]]] = {
    "album_as_list_by_events": [("photo.jpg", Kind.IMAGE, "11"), ("street.jpg", Kind.IMAGE, "12")],
    "cloud_channel_with_base64": [("report.pdf", Kind.DOCUMENT, "wamid.HBgNNTU4MTk5MDAwMDAwMRUCABIYFDNFQjA=")],
    "document_with_caption_as_buffers": [("report.pdf", Kind.DOCUMENT, "03")],
    "flow_with_a_photo": [("photo.jpg", None, "52")],
    "image_as_base64": [("photo.jpg", Kind.IMAGE, "01")],
    "lottie_sticker": [("sticker.was", Kind.STICKER, "77")],
    "messages_under_messages": [("photo.jpg", Kind.IMAGE, "20"), ("voice.ogg", Kind.AUDIO, "21")],
    "own_video_note_from_another_device": [("clip.mp4", Kind.VIDEO, "05")],
    "product_with_a_picture": [("photo.jpg", Kind.IMAGE, "51")],
    "sticker_with_the_file_as_base64": [("sticker.webp", Kind.STICKER, "06")],
    "template_with_a_picture": [("photo.jpg", Kind.IMAGE, "30")],
    "view_once_in_ephemeral_video": [("clip.mp4", Kind.VIDEO, "04")],
    "voice_note_as_numbered_bytes": [("voice.ogg", Kind.PTT, "02")],
}
IGNORED = {
    "album_as_list_by_events": 2,
    "messages_under_messages": 2,
    "ignored_text": 1,
    "ignored_message_status": 1,
    "ignored_album": 1,
}


def parsed(body: Any, **values: Any) -> ParsedPayload:
    return evolution.parse(body, settings(**values) if values else SETTINGS)


def upsert(content: Any, **fields: Any) -> dict[str, Any]:
    key = {"remoteJid": "5581990000001@s.whatsapp.net", "fromMe": False, "id": "3EB0"}
    return {"event": "messages.upsert", "instance": "shop", "data": {"key": key, "message": content, **fields}}


def only_attachment(content: Any, **fields: Any) -> Attachment:
    (attachment,) = parsed(upsert(content, **fields)).attachments
    return attachment


# --- samples ---


@pytest.mark.parametrize("name", [name for name in names("evolution") if name != "copy_in_minio"])
def test_every_sample_has_its_files(name: str) -> None:
    result = parsed(payload("evolution", name))
    assert result.ignored == IGNORED.get(name, 0)
    assert [
        (content_of(attachment), attachment.kind, attachment.message_id.removeprefix("3EB0A1B2C3D4E5F600"))
        for attachment in result.attachments
    ] == [(media_file(file), kind, message_id) for file, kind, message_id in EXPECTED.get(name, [])]
    for attachment in result.attachments:
        assert attachment.fault is None
        assert (attachment.gateway, attachment.session, attachment.timestamp) == (
            "evolution",
            "loja-recife",
            1794740000,
        )
        assert attachment.file_sha256 == hashlib.sha256(content_of(attachment)).hexdigest()
        assert attachment.mimetype
        assert GATEWAYS[attachment.gateway] is evolution


def test_attachment_has_the_fields_of_its_message() -> None:
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
def test_document_is_named_by_its_file_name_or_its_title(fields: dict[str, str], name: str | None) -> None:
    assert only_attachment({"documentMessage": {**PICTURE, **fields}}).filename == name


def test_instance_is_a_name_or_an_object() -> None:
    body = upsert({"imageMessage": PICTURE})
    (named,) = parsed({**body, "instance": {"instanceName": "shop", "instanceId": "x"}}).attachments
    assert named.id == only_attachment({"imageMessage": PICTURE}).id


def test_participant_may_be_a_field_next_to_the_key() -> None:
    assert only_attachment({"imageMessage": PICTURE}, participant="5582@s.whatsapp.net").sender == "5582@s.whatsapp.net"


def test_sender_is_the_group_member_or_the_session_for_own_messages() -> None:
    (voice,) = parsed(payload("evolution", "voice_note_as_numbered_bytes")).attachments
    assert (voice.chat, voice.sender) == ("120363000000000001@g.us", "5581990000002@s.whatsapp.net")
    (own,) = parsed(payload("evolution", "own_video_note_from_another_device")).attachments
    assert (own.chat, own.sender) == ("5581990000001@s.whatsapp.net", "5581980000000@s.whatsapp.net")


# --- sources of the file ---


def test_copy_in_object_storage_is_fetched_without_a_key_if_there_is_no_whatsapp_path() -> None:
    (image,) = parsed(payload("evolution", "copy_in_minio")).attachments
    assert (image.media_key, image.direct_path) == (None, None)
    source = evolution.source(image, None, SETTINGS)
    assert source.url.startswith("https://minio.example/evolution/")
    assert not source.headers
    assert not source.credentials


@pytest.mark.parametrize(
    ("fields", "location"),
    [
        ({}, (PATH, "AA==")),
        ({"directPath": ""}, (None, "AA==")),
        ({"url": None}, (PATH, "AA==")),
        ({"mediaKey": None}, (PATH, None)),
    ],
)
def test_whatsapp_source_is_preferred_to_the_copy(fields: dict[str, Any], location: tuple[Any, Any]) -> None:
    image = only_attachment({"imageMessage": {**PICTURE, **fields}, "mediaUrl": COPY})
    assert (image.direct_path, image.media_key) == location
    assert image.url != COPY


@pytest.mark.parametrize(
    "fields", [{"url": None}, {"url": "https://web.whatsapp.net"}, {"mediaKey": None}, {"url": {}}]
)
def test_copy_is_used_if_the_whatsapp_source_is_unusable(fields: dict[str, Any]) -> None:
    image = only_attachment({"imageMessage": {**PICTURE, "directPath": None, **fields}, "mediaUrl": COPY})
    assert (image.url, image.direct_path, image.media_key) == (COPY, None, None)


@pytest.mark.parametrize("inner", [True, False])
def test_inline_file_is_read_from_the_message_or_next_to_it(inner: bool) -> None:
    file = base64.b64encode(b"whole").decode()
    in_message, next_to_it = ({"base64": file}, {}) if inner else ({}, {"base64": file})
    assert only_attachment({"imageMessage": PICTURE, **in_message}, **next_to_it).data == file


def test_inline_file_belongs_to_the_first_of_several_media() -> None:
    card = {"header": {"imageMessage": PICTURE}}
    other_card = {"header": {"videoMessage": {**PICTURE, "directPath": "/v/other"}}}
    message = {"interactiveMessage": {"carouselMessage": {"cards": [card, other_card, card]}}, "base64": "d2hvbGU="}
    first, second = parsed(upsert(message)).attachments
    assert (first.kind, first.part, first.data) == (Kind.IMAGE, 0, "d2hvbGU=")
    assert (second.kind, second.part, second.data, second.direct_path) == (Kind.VIDEO, 1, None, "/v/other")
    assert first.id != second.id


@pytest.mark.parametrize("path", ["", None, [], {}])
def test_media_without_a_path_are_not_merged(path: Any) -> None:
    cards = [{"imageMessage": {"url": "https://web.whatsapp.net", "directPath": path}}] * 2
    result = parsed(upsert({"interactiveMessage": {"cards": cards}}))
    assert len({attachment.id for attachment in result.attachments}) == 2


def test_invalid_base64_is_a_fault_unless_there_is_another_source() -> None:
    assert only_attachment({"imageMessage": PICTURE, "base64": "§"}).fault is None
    fault = only_attachment({"imageMessage": {"mimetype": "image/jpeg"}, "base64": "§"}).fault
    assert fault is not None
    assert (fault.code, fault.message) == (Code.BAD_PAYLOAD, "data: is not base64")


@pytest.mark.parametrize("media_fields", [{}, "gone", 5, []])
def test_media_without_a_source_are_an_attachment_that_fails_with_no_source(media_fields: Any) -> None:
    image = only_attachment({"imageMessage": media_fields})
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
def test_kind_follows_the_message_type(name: str, fields: dict[str, Any], kind: Kind) -> None:
    assert only_attachment({name: {**PICTURE, **fields}}).kind == kind


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
def test_media_are_found_in_any_nesting_of_wrappers(wrappers: list[str]) -> None:
    content: dict[str, Any] = {"stickerMessage": PICTURE}
    for name in wrappers:
        content = {name: {"message": content}, "messageContextInfo": {"deviceListMetadata": {}}}
    assert (only_attachment(content).kind, only_attachment(content).direct_path) == (Kind.STICKER, PATH)


@pytest.mark.parametrize("wrap", [lambda content: [content], lambda content: {"viewOnceMessage": {"message": content}}])
def test_message_nested_too_deeply_is_ignored(wrap: Callable[[Any], Any]) -> None:
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
def test_quoted_or_referenced_media_are_ignored(content: Any) -> None:
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
        ("messages.set", True),
        ("connection.update", False),
        ("", False),
        (None, False),
        (["messages.upsert"], False),
    ],
)
def test_events_other_than_messages_are_ignored(event: Any, known: bool) -> None:
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
def test_bytes_are_read_in_every_encoding(key: str, plain: str, encrypted: str) -> None:
    fields = {
        "mediaKey": FORMS[key](BYTES),
        "fileSha256": FORMS[plain](BYTES),
        "fileEncSha256": FORMS[encrypted](BYTES[::-1]),
    }
    image = only_attachment({"imageMessage": {**PICTURE, **fields}})
    assert image.media_key == base64.b64encode(BYTES).decode()
    assert (image.file_sha256, image.file_enc_sha256, image.fault) == (BYTES.hex(), BYTES[::-1].hex(), None)


@given(st.integers(1, 2**53))
def test_numbers_are_read_in_every_encoding(number: int) -> None:
    # JavaScript splits 64-bit numbers into signed 32-bit halves.
    low = (number & 0xFFFFFFFF) - (2**32 if number & 0x80000000 else 0)
    for encoded in (number, str(number), {"low": low, "high": number >> 32, "unsigned": True}):
        image = only_attachment({"imageMessage": {**PICTURE, "fileLength": encoded}}, messageTimestamp=encoded)
        assert (image.size, image.timestamp, image.fault) == (number, number, None)


@pytest.mark.parametrize("length", [0, "0", "", None, {"low": 0, "high": 0, "unsigned": True}])
def test_zero_or_empty_length_is_none(length: Any) -> None:
    assert only_attachment({"imageMessage": {**PICTURE, "fileLength": length}}).size is None


@pytest.mark.parametrize("empty", ["", {}, [], None])
def test_empty_hash_is_none(empty: Any) -> None:
    image = only_attachment({"imageMessage": {**PICTURE, "fileSha256": empty, "fileEncSha256": empty}})
    assert (image.file_sha256, image.file_enc_sha256, image.fault) == (None, None, None)


# --- bad input ---


def test_batch_has_a_limit_of_messages() -> None:
    message = upsert({"imageMessage": PICTURE})["data"]
    body = {**upsert(None), "data": [message] * 3}
    assert len(parsed(body, max_batch=3).attachments) == 3
    with pytest.raises(PayloadError, match="at most 2 messages"):
        parsed(body, max_batch=2)
    with pytest.raises(PayloadError, match="at most 2 messages"):
        parsed({**body, "data": [upsert({"conversation": "Olá"})["data"]] * 3}, max_batch=2)


def test_batch_limit_counts_the_media_of_its_messages() -> None:
    cards = [{"imageMessage": {**PICTURE, "directPath": f"/v/{number}"}} for number in range(3)]
    body = {**upsert(None), "data": [upsert(cards)["data"], upsert(cards)["data"]]}
    assert len(parsed(body, max_batch=6).attachments) == 6
    with pytest.raises(PayloadError, match="at most 5 messages"):
        parsed(body, max_batch=5)
    with pytest.raises(PayloadError, match="at most 2 messages"):
        parsed(upsert(cards), max_batch=2)


@pytest.mark.parametrize("data", [None, [], {}, 5, "text", [None], [[]], {"messages": None}, {"messages": []}])
def test_event_without_messages_counts_as_one_ignored_message(data: Any) -> None:
    assert parsed({**upsert(None), "data": data}) == ParsedPayload(ignored=1)


def assert_parses_or_refuses(body: Any) -> None:
    """Asserts that parsing gives attachments that survive serialization or ignored messages, or raises PayloadError."""
    try:
        result = evolution.parse(body, FEW)
    except PayloadError:
        return
    for attachment in result.attachments:
        assert Attachment.model_validate_json(attachment.model_dump_json()) == attachment
    assert result.attachments or result.ignored


@given(JSON)
def test_parse_accepts_or_refuses_any_json(body: Any) -> None:
    assert_parses_or_refuses(body)
    assert_parses_or_refuses({**upsert(body), "data": body})
    assert_parses_or_refuses(upsert({"imageMessage": body}))


@given(mutations("evolution"))
@trying(max_examples=300, suppress_health_check=[HealthCheck.too_slow])
def test_parse_accepts_or_refuses_changed_samples(body: Any) -> None:
    assert_parses_or_refuses(body)


@pytest.mark.parametrize("field", ["mediaKey", "fileSha256", "fileLength", "url", "directPath", "caption", "mimetype"])
def test_parse_accepts_or_refuses_a_deeply_nested_field(field: str) -> None:
    nested: Any = []
    for _ in range(900):
        nested = [nested]
    assert_parses_or_refuses(upsert({"imageMessage": {**PICTURE, field: nested}}))
    assert_parses_or_refuses(upsert({"imageMessage": PICTURE}, key={"id": nested, "remoteJid": nested}))
