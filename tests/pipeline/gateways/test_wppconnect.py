"""WPPConnect's hook: authentication, files and thumbnails in the same field, and ids as text or objects."""

from __future__ import annotations

import base64
import hashlib
from typing import Any

import pytest
from hypothesis import HealthCheck, given
from hypothesis import settings as trying
from hypothesis import strategies as st

from pipeline.errors import Code, PayloadError, PermanentError
from pipeline.gateways import GATEWAYS, HookRequest, NoSecretError, ParsedPayload, UnauthorizedError, wppconnect
from pipeline.models import Attachment, Kind
from tests.support.checking import settings
from tests.support.payloads import JSON, content_of, media_file, mutations, names, payload

SECRET = "a secret of the tests"
SETTINGS = settings()
FEW = settings(max_batch=5)
FILE = b"the whole file, as the server has decrypted it"
THUMBNAIL = base64.b64encode(b"\xff\xd8\xff a small picture").decode()
WHOLE = base64.b64encode(FILE).decode()
HASH = base64.b64encode(hashlib.sha256(FILE).digest()).decode()
PATH = "/v/t62.7118-24/1_2_n.enc?ccb=11-4&oe=6B0F2A80"
URL = f"https://mmg.whatsapp.net{PATH}"
COPY = "https://shop.s3.amazonaws.com/1.jpg"

# The media of each sample: the file, its kind and its message id without the common part.
EXPECTED = {
    "document_unread_with_objects_for_ids": ("report.pdf", Kind.DOCUMENT, "false_5581990000001@c.us_03"),
    "image_with_a_copy_in_s3": ("photo.jpg", Kind.IMAGE, "false_5581990000001@c.us_07"),
    "image_with_a_thumbnail": ("photo.jpg", Kind.IMAGE, "false_5581990000001@c.us_01"),
    "lottie_sticker": ("sticker.was", Kind.STICKER, "false_5581990000001@c.us_78"),
    "own_image": ("street.jpg", Kind.IMAGE, "true_5581990000001@c.us_06_out"),
    "sticker_under_response_by_size": ("sticker.webp", Kind.STICKER, "false_5581990000001@c.us_05"),
    "video_note": ("clip.mp4", Kind.VIDEO, "false_5581990000001@c.us_08"),
    "video_under_data": ("clip.mp4", Kind.VIDEO, "false_5581990000001@c.us_04"),
    "voice_note_with_the_file": ("voice.ogg", Kind.PTT, "false_120363000000000001@g.us_02_5581990000002@c.us"),
}


def parsed(body: Any) -> ParsedPayload:
    return wppconnect.parse(body, SETTINGS)


def image(**fields: Any) -> dict[str, Any]:
    common = {"event": "onmessage", "session": "shop", "id": "false_5581990000001@c.us_3EB0", "type": "image", "t": 5}
    return {**common, "from": "5581990000001@c.us", "to": "5581980000000@c.us", **fields}


def only_attachment(**fields: Any) -> Attachment:
    (attachment,) = parsed(image(**fields)).attachments
    return attachment


def sample(name: str) -> Attachment:
    (attachment,) = parsed(payload("wppconnect", name)).attachments
    return attachment


# --- samples ---


def test_every_sample_with_media_has_an_expectation() -> None:
    assert [name for name in names("wppconnect") if not name.startswith("ignored_")] == sorted(EXPECTED)


@pytest.mark.parametrize("name", sorted(EXPECTED))
def test_every_sample_has_its_file(name: str) -> None:
    file, kind, message_id = EXPECTED[name]
    assert parsed(payload("wppconnect", name)).ignored == 0
    attachment = sample(name)
    assert (content_of(attachment), attachment.kind) == (media_file(file), kind)
    assert attachment.message_id.replace("3EB0B1B2C3D4E5F600", "") == message_id
    assert (attachment.gateway, attachment.session, attachment.timestamp) == ("wppconnect", "loja-recife", 1794740000)
    assert (attachment.size, attachment.fault) == (len(media_file(file)), None)
    assert attachment.mimetype
    assert GATEWAYS[attachment.gateway] is wppconnect


@pytest.mark.parametrize("name", [name for name in names("wppconnect") if name.startswith("ignored_")])
def test_samples_without_media_are_ignored(name: str) -> None:
    assert parsed(payload("wppconnect", name)) == ParsedPayload(ignored=1)


def test_attachment_has_the_fields_of_its_message() -> None:
    photo = sample("image_with_a_thumbnail")
    assert (photo.caption, photo.mimetype, photo.expiry) == ("A fachada nova", "image/jpeg", 0x6B0F2A80)
    report = sample("document_unread_with_objects_for_ids")
    assert (report.filename, report.caption) == ("Relatório de outubro.pdf", "Segue o relatório")
    assert report.file_enc_sha256


@pytest.mark.parametrize(
    ("name", "chat", "sender"),
    [
        ("image_with_a_thumbnail", "5581990000001@c.us", "5581990000001@c.us"),
        ("image_with_a_copy_in_s3", "5581990000001@c.us", "5581990000001@c.us"),
        ("document_unread_with_objects_for_ids", "5581990000001@c.us", "5581990000001@c.us"),
        ("voice_note_with_the_file", "120363000000000001@g.us", "5581990000002@c.us"),
        ("own_image", "5581990000001@c.us", "5581980000000@c.us"),
    ],
)
def test_chat_and_sender_are_set(name: str, chat: str, sender: str) -> None:
    assert (sample(name).chat, sample(name).sender) == (chat, sender)


def test_chat_of_an_own_message_is_its_recipient() -> None:
    own = only_attachment(
        fromMe=True, **{"from": "me@c.us", "to": {"user": "5581", "server": "c.us", "_serialized": None}}
    )
    assert (own.chat, own.sender) == ("5581@c.us", "me@c.us")


def test_sender_is_the_author_or_the_sender_before_the_chat() -> None:
    group = {"from": "1203@g.us", "sender": {"id": {"user": "5581", "server": "c.us"}}}
    assert only_attachment(**group).sender == "5581@c.us"
    assert only_attachment(**{**group, "author": "5582@c.us"}).sender == "5582@c.us"
    assert only_attachment(**{**group, "sender": {}}).sender == "1203@g.us"


@pytest.mark.parametrize("fields", [{"t": 5}, {"t": None, "timestamp": 5}, {"t": "5", "timestamp": None}])
def test_timestamp_is_read_from_either_field(fields: dict[str, Any]) -> None:
    assert only_attachment(**fields).timestamp == 5


@pytest.mark.parametrize("empty", [{}, [], "", None, 0])
def test_empty_size_or_hash_is_none(empty: Any) -> None:
    attachment = only_attachment(filehash=empty, encFilehash=empty, uploadhash=empty, directPath=PATH)
    assert (attachment.file_sha256, attachment.file_enc_sha256, attachment.fault) == (None, None, None)
    assert only_attachment(size=0).size is None


# --- body: the file or its thumbnail ---

LOCATION = {"directPath": PATH, "mediaKey": "AA=="}


@pytest.mark.parametrize(
    "announced",
    [
        {"filehash": HASH},
        {"filehash": hashlib.sha256(FILE).hexdigest()},
        {"size": len(FILE)},
        {"size": str(len(FILE))},
        {"filehash": HASH, "size": len(FILE)},
        {"filehash": HASH, "size": 5},
        {"filehash": "", "size": {"low": len(FILE), "high": 0, "unsigned": True}},
    ],
)
@pytest.mark.parametrize("location", [LOCATION, {}])
def test_body_with_the_announced_hash_or_size_is_the_file(announced: dict[str, Any], location: dict[str, Any]) -> None:
    attachment = only_attachment(body=WHOLE, **announced, **location)
    assert (attachment.data, attachment.direct_path, attachment.fault) == (WHOLE, location.get("directPath"), None)


@pytest.mark.parametrize(
    "announced", [{"filehash": HASH}, {"size": len(FILE)}, {"filehash": HASH, "size": len(base64.b64decode(THUMBNAIL))}]
)
@pytest.mark.parametrize("body", [THUMBNAIL, WHOLE[:-4], WHOLE + "AAAA", "A legend of the picture", "", None, 5, {}])
@pytest.mark.parametrize("location", [LOCATION, {}])
def test_body_with_another_hash_or_size_is_not_the_file(
    announced: dict[str, Any], body: Any, location: dict[str, Any]
) -> None:
    attachment = only_attachment(body=body, **announced, **location)
    assert (attachment.data, attachment.direct_path, attachment.fault) == (None, location.get("directPath"), None)
    if not location:
        with pytest.raises(PermanentError) as caught:
            wppconnect.source(attachment, None, SETTINGS)
        assert caught.value.code == Code.NO_SOURCE


@pytest.mark.parametrize(
    "location",
    [{"directPath": PATH}, {"mediaKey": "AA=="}, {"clientUrl": URL}, {"deprecatedMms3Url": URL}, {"fileUrl": COPY}],
)
def test_unannounced_body_is_ignored_if_there_is_another_source(location: dict[str, str]) -> None:
    assert only_attachment(body=THUMBNAIL, **location).data is None


@pytest.mark.parametrize("announced", [{}, {"filehash": "", "size": 0}, {"filehash": None, "size": None}])
def test_unannounced_body_is_the_file_without_another_source(announced: dict[str, Any]) -> None:
    assert only_attachment(body=WHOLE, **announced).data == WHOLE
    fault = only_attachment(body="A legend!", **announced).fault
    assert fault is not None
    assert fault.message == "data: is not base64"


@pytest.mark.parametrize(
    "fields", [{}, {"directPath": "", "deprecatedMms3Url": URL}, {"directPath": "", "clientUrl": URL}]
)
def test_whatsapp_source_is_preferred_to_the_copy(fields: dict[str, Any]) -> None:
    attachment = only_attachment(**{**LOCATION, **fields}, fileUrl=COPY)
    assert attachment.media_key == "AA=="
    assert wppconnect.source(attachment, None, SETTINGS).url == URL


@pytest.mark.parametrize(
    "fields", [{}, {"clientUrl": "https://web.whatsapp.net/", "mediaKey": "AA=="}, {"clientUrl": URL}]
)
def test_copy_is_used_without_a_key_if_the_whatsapp_source_is_unusable(fields: dict[str, Any]) -> None:
    attachment = only_attachment(**fields, fileUrl=COPY)
    assert (attachment.url, attachment.media_key, attachment.direct_path) == (COPY, None, None)


# --- messages ---


@pytest.mark.parametrize(
    ("event", "known"),
    [
        ("onmessage", True),
        ("onMessage", True),
        ("on-message", True),
        ("onanymessage", True),
        ("onselfmessage", True),
        ("unreadmessages", True),
        ("received-message", True),
        ("onack", False),
        ("onreactionmessage", False),
        ("onrevokedmessage", False),
        ("status-find", False),
        (None, False),
        ({"onmessage": 1}, False),
    ],
)
def test_events_other_than_messages_are_ignored(event: Any, known: bool) -> None:
    result = parsed(image(event=event))
    assert (len(result.attachments), result.ignored) == ((1, 0) if known else (0, 1))


@pytest.mark.parametrize(
    ("fields", "kind"),
    [
        ({"type": "ptt"}, Kind.PTT),
        ({"type": "ptv"}, Kind.VIDEO),
        ({"type": None, "mimetype": "image/jpeg"}, None),
        ({"type": None, "isMedia": True}, None),
        ({"type": ["image"], "mimetype": "image/jpeg"}, None),
    ],
)
def test_kind_follows_the_type_field(fields: dict[str, Any], kind: Kind | None) -> None:
    assert only_attachment(**fields).kind == kind


@pytest.mark.parametrize(
    "fields",
    [
        {"type": "chat"},
        {"type": "chat", "quotedMsg": {"type": "image", "mimetype": "image/jpeg", **LOCATION}},
        {"type": "vcard", "mimetype": "text/vcard"},
        {"type": "revoked", "mimetype": "image/jpeg"},
        {"type": "location", "body": THUMBNAIL},
        {"type": "album"},
        {"type": None},
    ],
)
def test_messages_without_own_media_are_ignored(fields: dict[str, Any]) -> None:
    assert parsed(image(**fields)) == ParsedPayload(ignored=1)


@pytest.mark.parametrize("field", ["data", "response"])
def test_messages_are_read_from_data_or_response_single_or_as_a_list(field: str) -> None:
    messages = [image(id="a"), image(type="chat"), None, image(id="b", session=None)]
    result = parsed({"event": "onmessage", "session": "shop", field: messages})
    assert [(attachment.message_id, attachment.session) for attachment in result.attachments] == [
        ("a", "shop"),
        ("b", "shop"),
    ]
    assert result.ignored == 2
    single = parsed({"event": "onmessage", "session": "shop", field: image(id="a")})
    assert [attachment.id for attachment in single.attachments] == [result.attachments[0].id]


@pytest.mark.parametrize("data", [[], {}, [None], "text", None, 5])
def test_empty_data_is_ignored(data: Any) -> None:
    assert parsed({"event": "onmessage", "data": data}) == ParsedPayload(ignored=1)


@pytest.mark.parametrize(
    ("message_id", "text"),
    [
        ("false_5581@c.us_3EB0", "false_5581@c.us_3EB0"),
        ({"_serialized": "false_5581@c.us_3EB0", "id": "other"}, "false_5581@c.us_3EB0"),
        ({"_serialized": None, "fromMe": False, "remote": "5581@c.us", "id": "3EB0"}, "false_5581@c.us_3EB0"),
        ({"fromMe": True, "remote": {"_serialized": "5581@c.us"}, "id": "3EB0"}, "true_5581@c.us_3EB0"),
        (
            {"fromMe": False, "remote": {"user": "1203", "server": "g.us"}, "id": "3EB0", "participant": "5581@c.us"},
            "false_1203@g.us_3EB0_5581@c.us",
        ),
    ],
)
def test_message_id_is_read_as_text_or_object(message_id: Any, text: str) -> None:
    assert only_attachment(id=message_id).message_id == text


@pytest.mark.parametrize("message_id", [None, "", {}, {"id": 5}, {"remote": {}, "id": "3EB0"}])
def test_missing_message_id_is_derived_and_repeatable(message_id: Any) -> None:
    first, repeated, other = (
        only_attachment(id=message_id),
        only_attachment(id=message_id),
        only_attachment(id=message_id, body="another", directPath=PATH),
    )
    assert first.message_id.startswith("sha256:")
    assert first.id == repeated.id != other.id


# --- bad input ---


def test_batch_has_a_limit_of_messages() -> None:
    body = {"event": "onmessage", "data": [image()] * 5}
    assert len(wppconnect.parse(body, FEW).attachments) == 5
    with pytest.raises(PayloadError, match="at most 5 messages"):
        wppconnect.parse({"event": "onmessage", "data": [image()] * 6}, FEW)


def assert_parses_or_refuses(body: Any) -> None:
    """Asserts that parsing gives attachments that survive serialization, or raises PayloadError."""
    try:
        result = wppconnect.parse(body, FEW)
    except PayloadError:
        return
    for attachment in result.attachments:
        assert Attachment.model_validate_json(attachment.model_dump_json()) == attachment


@given(JSON, st.sampled_from(["id", "chatId", "type", "body", "size", "filehash", "sender", "mediaKey", "directPath"]))
def test_parse_accepts_or_refuses_any_json(body: Any, field: str) -> None:
    assert_parses_or_refuses(body)
    assert_parses_or_refuses({"event": "onmessage", "data": body})
    assert_parses_or_refuses(image(**{field: body}))


@given(mutations("wppconnect"))
@trying(max_examples=300, suppress_health_check=[HealthCheck.too_slow])
def test_parse_accepts_or_refuses_changed_samples(body: Any) -> None:
    assert_parses_or_refuses(body)


@pytest.mark.parametrize("field", ["id", "chatId", "from", "author", "sender", "size", "filehash", "mediaKey", "t"])
def test_parse_accepts_or_refuses_a_deeply_nested_field(field: str) -> None:
    nested: Any = {}
    for _ in range(900):
        nested = {"remote": nested, "_serialized": nested}
    assert_parses_or_refuses(image(**{field: nested}))
    assert_parses_or_refuses(
        image(**{field: {"remote": nested, "user": nested, "server": nested, "participant": nested}})
    )


# --- authentication ---


def allowed(*, path: str | None = None, **headers: str) -> bool:
    sent_headers = {name.replace("_", "-"): value for name, value in headers.items()}
    try:
        wppconnect.verify(HookRequest(headers=sent_headers, secret=path), settings(wppconnect_secret=SECRET))
    except UnauthorizedError:
        return False
    return True


def test_secret_is_accepted_in_headers_and_path() -> None:
    assert allowed(x_webhook_secret=SECRET)
    assert allowed(authorization=f"Bearer {SECRET}")
    assert allowed(path=SECRET)
    assert allowed(path=SECRET, x_webhook_secret="wrong", authorization="Basic eDp5")


@pytest.mark.parametrize("wrong", ["", " ", SECRET[:-1], SECRET + "x", SECRET.upper(), "sécret", f"Bearer {SECRET}"])
def test_wrong_secret_is_refused(wrong: str) -> None:
    assert not allowed()
    assert not allowed(path=wrong)
    assert not allowed(x_webhook_secret=wrong)
    assert not allowed(authorization=f"Bearer {wrong}" if wrong[:6] != "Bearer" else SECRET)


def test_refusal_message_contains_no_secret() -> None:
    with pytest.raises(UnauthorizedError) as caught:
        wppconnect.verify(HookRequest(headers={}, secret="guessed"), settings(wppconnect_secret=SECRET))
    assert caught.value.code == Code.UNAUTHORIZED
    assert not [text for text in (SECRET, "guessed") if text in str(caught.value)]


@pytest.mark.parametrize("unset", [None, ""])
def test_verify_without_a_secret_names_the_missing_setting(unset: str | None) -> None:
    request = HookRequest(headers={"x-webhook-secret": "", "authorization": "Bearer "}, secret="")
    with pytest.raises(NoSecretError) as caught:
        wppconnect.verify(request, settings(wppconnect_secret=unset))
    assert caught.value.setting == "WPPCONNECT_SECRET"
