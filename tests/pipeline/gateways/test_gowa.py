"""GOWA's hook: authentication, and the messages of its versions."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given

from pipeline.errors import Code, PayloadError
from pipeline.gateways import GATEWAYS, HookRequest, NoSecretError, ParsedPayload, UnauthorizedError
from pipeline.models import Attachment, Kind
from tests.support.checking import settings
from tests.support.json_shapes import ANY_JSON, mutations
from tests.support.payloads import names, payload

GOWA = GATEWAYS["gowa"]
SAMPLES = {name: payload("gowa", name) for name in names("gowa")}
NOTHING = [None, "", " ", {}, [], False, {"type": "Buffer", "data": []}]
PATH = "statics/media/1790000002-1.jpeg"
ANA, LID, GROUP = "5511999990000@s.whatsapp.net", "100000000000001@lid", "120363000000000001@g.us"
DEVICE = "5511888880000@s.whatsapp.net"

# The published example of the same header and algorithm: docs.github.com, "Validating webhook deliveries".
BODY = b"Hello, World!"
SECRET = "It's a Secret to Everybody"
SIGNATURE = "757107ea0eb2509fc211221cce984b8a37570b6d7586c22c46f4379c8b043e17"


def parse(body: Any, **values: Any) -> ParsedPayload:
    return GOWA.parse(body, settings(**values))


def message(**fields: Any) -> dict[str, Any]:
    common = {"id": "3EB0", "chat_id": ANA, "from": ANA, "timestamp": "2026-09-21T13:33:20Z"}
    return {"event": "message", "device_id": DEVICE, "payload": common | fields}


def only(body: Any, **values: Any) -> Attachment:
    parsed = parse(body, **values)
    assert parsed.ignored == 0
    (attachment,) = parsed.attachments
    return attachment


def only_of(name: str) -> Attachment:
    return only(SAMPLES[name], default_session="phone")


def verify(signature: str, body: bytes = BODY) -> None:
    head = HookRequest({"x-hub-signature-256": signature})
    check_body = GOWA.verify(head, settings(gowa_webhook_secret=SECRET))
    assert check_body is not None
    check_body(body)


def test_verify_accepts_the_published_signature_of_the_raw_body() -> None:
    verify(f"sha256={SIGNATURE}")


@pytest.mark.parametrize(
    ("signature", "body"),
    [
        ("", BODY),
        (SIGNATURE, BODY),
        (f"sha1={SIGNATURE}", BODY),
        (f"sha256={SIGNATURE[:-1]}", BODY),
        (f"sha256={SIGNATURE}", b"Hello, World"),
        (f"sha256={'0' * 64}", BODY),
    ],
)
def test_verify_refuses_any_other_signature(signature: str, body: bytes) -> None:
    with pytest.raises(UnauthorizedError):
        verify(signature, body)


def test_verify_without_a_secret_names_the_missing_setting() -> None:
    with pytest.raises(NoSecretError) as error:
        GOWA.verify(HookRequest({"x-hub-signature-256": f"sha256={SIGNATURE}"}), settings())
    assert error.value.setting == "GOWA_WEBHOOK_SECRET"


def test_every_sample_has_attachments_unless_it_is_named_ignored() -> None:
    for name, sample in SAMPLES.items():
        parsed = parse(sample, default_session="phone")
        assert bool(parsed.attachments) != name.startswith("ignored_"), name
        assert parsed.ignored == name.startswith("ignored_"), name
        for attachment in parsed.attachments:
            assert (attachment.gateway, attachment.timestamp) == ("gowa", 1790000000), name
            assert bool(attachment.remote_id) != bool(attachment.fault), name
            assert attachment.chat, name


@pytest.mark.parametrize(
    ("name", "kind", "caption"),
    [
        ("v7_image", Kind.IMAGE, "a praia"),
        ("v7_video", Kind.VIDEO, None),
        ("v7_voice_note", Kind.AUDIO, None),
        ("v7_group_document", Kind.DOCUMENT, "segue"),
        ("v8_image", Kind.IMAGE, None),
        ("v8_image_with_caption", Kind.IMAGE, "a praia"),
        ("v8_video", Kind.VIDEO, "a obra"),
        ("v8_voice_note", Kind.AUDIO, None),
        ("v8_audio", Kind.AUDIO, None),
        ("v8_document", Kind.DOCUMENT, "relatório"),
        ("v8_sticker", Kind.STICKER, None),
        ("v8_video_note", Kind.VIDEO, None),
    ],
)
def test_medium_has_its_kind_and_caption(name: str, kind: Kind | None, caption: str | None) -> None:
    attachment = only_of(name)
    assert (attachment.kind, attachment.caption) == (kind, caption)


def people(name: str) -> tuple[str | None, ...]:
    attachment = only_of(name)
    return attachment.chat, attachment.sender, attachment.chat_number, attachment.sender_number


def test_chat_and_sender_are_addresses_with_their_numbers() -> None:
    ana = "5511999990000"
    assert people("v8_image") == people("v7_image") == (ANA, ANA, ana, ana)
    assert people("v7_group_document") == people("v9_group_by_lid") == (GROUP, ANA, None, ana)
    assert people("v9_chat_by_lid") == (ANA, ANA, ana, ana)
    assert people("v8_own_image_as_lid") == (LID, DEVICE, None, "5511888880000")
    assert people("v7_own_video_note") == (ANA, "5511888880000:12@s.whatsapp.net", ana, "5511888880000")
    assert people("v7_without_message") == (ANA, ANA, ana, ana)


def test_chat_by_lid_has_the_number_of_the_sender() -> None:
    attachment = only(message(image=PATH, chat_id=LID, from_lid=LID))
    assert (attachment.chat, attachment.chat_number) == (LID, "5511999990000")


def test_session_is_the_name_of_the_device_else_its_address() -> None:
    assert only_of("v9_group_by_lid").session == "shop"
    assert only_of("v8_image").session == DEVICE
    assert only_of("v7_image").session == "phone"


def test_message_before_version_8_without_a_default_session_is_refused() -> None:
    with pytest.raises(PayloadError, match="device_id: is missing, and DEFAULT_SESSION is not set"):
        parse(SAMPLES["v7_image"])
    assert parse(SAMPLES["ignored_v7_text"]) == ParsedPayload(ignored=1)


def test_message_is_the_same_attachment_by_lid_and_by_number() -> None:
    by_number = only(message(image=PATH))
    by_lid = only(message(image=PATH, chat_id=LID, chat_lid=LID, from_lid=LID))
    own = only(message(image=PATH, is_from_me=True))
    assert by_number.id == by_lid.id != own.id
    assert only(message(image=PATH, **{"from": DEVICE})).id == own.id


def test_cards_are_parts_within_the_limit() -> None:
    parsed = parse(SAMPLES["v9_cards"])
    assert [attachment.part for attachment in parsed.attachments] == [0, 1]
    assert len({attachment.id for attachment in parsed.attachments}) == 2
    with pytest.raises(PayloadError, match="MAX_BATCH"):
        parse(message(interactive_media=[PATH] * 4), max_batch=3)


def test_file_that_was_not_downloaded_has_a_reason() -> None:
    for name in ("v7_not_downloaded", "v8_not_downloaded"):
        fault = only_of(name).fault
        assert fault is not None
        assert fault.code == Code.NO_SOURCE
        assert "WHATSAPP_AUTO_DOWNLOAD_MEDIA" in fault.message


@pytest.mark.parametrize(
    "value", [{"path": "", "caption": "a"}, {"url": ""}, {"media_path": {}, "mime_type": "a/b"}, 7]
)
def test_medium_without_path_and_url_has_a_reason(value: Any) -> None:
    fault = only(message(image=value)).fault
    assert fault is not None
    assert fault.code == Code.NO_SOURCE


def test_url_with_a_key_or_of_another_server_or_channel_is_fetched() -> None:
    url = "https://mmg.whatsapp.net/v/t62.7118-24/1_n.enc"
    keyed = only(message(image={"url": url, "mediaKey": "A" * 43 + "=", "directPath": "/v/x", "file_length": "5"}))
    assert (keyed.fault, keyed.direct_path, keyed.size) == (None, "/v/x", 5)
    assert keyed.media_key
    assert only(message(image={"url": "https://bucket.example/x.jpg"})).fault is None
    assert only(message(image={"url": url}, chat_id="120363000000000002@newsletter")).fault is None


@pytest.mark.parametrize("nothing", NOTHING)
def test_empty_field_is_absent(nothing: Any) -> None:
    media = dict.fromkeys(("audio", "video", "document", "sticker", "video_note", "interactive_media"), nothing)
    fields = dict.fromkeys(("chat_lid", "from_lid", "body"), nothing)
    assert parse(message(image=PATH, **media, **fields)) == parse(message(image=PATH))
    names = ("caption", "url", "direct_path", "media_key", "file_sha256", "mime_type", "file_length", "filename")
    emptied = only(message(image={"path": PATH, **dict.fromkeys(names, nothing)}))
    assert emptied == only(message(image=PATH))
    assert parse(message(image=nothing)) == ParsedPayload(ignored=1)


@pytest.mark.parametrize("nothing", NOTHING)
def test_message_without_an_id_gets_one_from_its_content(nothing: Any) -> None:
    first, again = only(message(image=PATH, id=nothing)), only(message(image=PATH, id=nothing))
    assert first.id == again.id != only(message(image="statics/media/2.jpeg", id=nothing)).id


def test_events_are_recognised_whatever_their_case() -> None:
    assert only(message(image=PATH) | {"event": "Message"}).remote_id == PATH
    for event in ("message.edited", "message.ack", "chat_presence", 7, ["message"]):
        assert parse(message(image=PATH) | {"event": event}) == ParsedPayload(ignored=1)


@given(ANY_JSON | mutations(list(SAMPLES.values())))
def test_any_json_is_parsed_or_refused(body: Any) -> None:
    try:
        parsed = parse(body, default_session="phone")
    except PayloadError:
        return
    assert parsed.attachments or parsed.ignored
