"""WPPConnect: who may call, whole files and thumbnails in the same field, and WhatsApp Web's ids as text or objects."""

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

# What each sample comes to: the file, its kind and the message's id without what all have in common.
EXPECTED = {
    "document_unread_with_objects_for_ids": ("report.pdf", Kind.DOCUMENT, "false_5581990000001@c.us_03"),
    "image_with_a_copy_in_s3": ("photo.jpg", Kind.IMAGE, "false_5581990000001@c.us_07"),
    "image_with_a_thumbnail": ("photo.jpg", Kind.IMAGE, "false_5581990000001@c.us_01"),
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


def one(**fields: Any) -> Attachment:
    (attachment,) = parsed(image(**fields)).attachments
    return attachment


def sample(name: str) -> Attachment:
    (attachment,) = parsed(payload("wppconnect", name)).attachments
    return attachment


# --- samples ---


def test_there_is_no_sample_that_nothing_is_said_of() -> None:
    assert [name for name in names("wppconnect") if not name.startswith("ignored_")] == sorted(EXPECTED)


@pytest.mark.parametrize("name", sorted(EXPECTED))
def test_every_sample_leads_to_its_file(name: str) -> None:
    file, kind, message_id = EXPECTED[name]
    assert parsed(payload("wppconnect", name)).ignored == 0
    found = sample(name)
    assert (content_of(found), found.kind) == (media_file(file), kind)
    assert found.message_id.replace("3EB0B1B2C3D4E5F600", "") == message_id
    assert (found.gateway, found.session, found.timestamp) == ("wppconnect", "loja-recife", 1794740000)
    assert (found.size, found.fault) == (len(media_file(file)), None)
    assert found.mimetype
    assert GATEWAYS[found.gateway] is wppconnect


@pytest.mark.parametrize("name", [name for name in names("wppconnect") if name.startswith("ignored_")])
def test_samples_without_media_are_ignored(name: str) -> None:
    assert parsed(payload("wppconnect", name)) == ParsedPayload(ignored=1)


def test_a_message_keeps_what_it_says_of_its_file() -> None:
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
def test_chat_and_sender(name: str, chat: str, sender: str) -> None:
    assert (sample(name).chat, sample(name).sender) == (chat, sender)


def test_the_chat_of_an_own_message_is_whom_it_went_to() -> None:
    own = one(fromMe=True, **{"from": "me@c.us", "to": {"user": "5581", "server": "c.us", "_serialized": None}})
    assert (own.chat, own.sender) == ("5581@c.us", "me@c.us")


def test_the_senders_own_address_goes_before_that_of_the_chat() -> None:
    group = {"from": "1203@g.us", "sender": {"id": {"user": "5581", "server": "c.us"}}}
    assert one(**group).sender == "5581@c.us"
    assert one(**{**group, "author": "5582@c.us"}).sender == "5582@c.us"
    assert one(**{**group, "sender": {}}).sender == "1203@g.us"


@pytest.mark.parametrize("written", [{"t": 5}, {"t": None, "timestamp": 5}, {"t": "5", "timestamp": None}])
def test_the_time_is_known_by_either_name(written: dict[str, Any]) -> None:
    assert one(**written).timestamp == 5


@pytest.mark.parametrize("nothing", [{}, [], "", None, 0])
def test_an_empty_size_or_hash_is_none(nothing: Any) -> None:
    found = one(filehash=nothing, encFilehash=nothing, uploadhash=nothing, directPath=PATH)
    assert (found.file_sha256, found.file_enc_sha256, found.fault) == (None, None, None)
    assert one(size=0).size is None


# --- the file, or its thumbnail ---

PLACE = {"directPath": PATH, "mediaKey": "AA=="}


@pytest.mark.parametrize(
    "known",
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
@pytest.mark.parametrize("place", [PLACE, {}])
def test_a_body_that_is_the_file_is_taken(known: dict[str, Any], place: dict[str, Any]) -> None:
    found = one(body=WHOLE, **known, **place)
    assert (found.data, found.direct_path, found.fault) == (WHOLE, place.get("directPath"), None)


@pytest.mark.parametrize(
    "known", [{"filehash": HASH}, {"size": len(FILE)}, {"filehash": HASH, "size": len(base64.b64decode(THUMBNAIL))}]
)
@pytest.mark.parametrize("body", [THUMBNAIL, WHOLE[:-4], WHOLE + "AAAA", "A legend of the picture", "", None, 5, {}])
@pytest.mark.parametrize("place", [PLACE, {}])
def test_a_thumbnail_is_never_taken_for_the_file(known: dict[str, Any], body: Any, place: dict[str, Any]) -> None:
    found = one(body=body, **known, **place)
    assert (found.data, found.direct_path, found.fault) == (None, place.get("directPath"), None)
    if not place:
        with pytest.raises(PermanentError) as caught:
            wppconnect.source(found, None, SETTINGS)
        assert caught.value.code == Code.NO_SOURCE


@pytest.mark.parametrize(
    "place",
    [{"directPath": PATH}, {"mediaKey": "AA=="}, {"clientUrl": URL}, {"deprecatedMms3Url": URL}, {"fileUrl": COPY}],
)
def test_a_body_of_which_nothing_is_known_is_left_where_there_is_another_source(place: dict[str, str]) -> None:
    assert one(body=THUMBNAIL, **place).data is None


@pytest.mark.parametrize("known", [{}, {"filehash": "", "size": 0}, {"filehash": None, "size": None}])
def test_a_body_is_taken_where_there_is_nothing_else(known: dict[str, Any]) -> None:
    assert one(body=WHOLE, **known).data == WHOLE
    fault = one(body="A legend!", **known).fault
    assert fault is not None
    assert fault.message == "data: is not base64"


@pytest.mark.parametrize(
    "fields", [{}, {"directPath": "", "deprecatedMms3Url": URL}, {"directPath": "", "clientUrl": URL}]
)
def test_whatsapps_own_bytes_go_before_the_copy(fields: dict[str, Any]) -> None:
    found = one(**{**PLACE, **fields}, fileUrl=COPY)
    assert found.media_key == "AA=="
    assert wppconnect.source(found, None, SETTINGS).url == URL


@pytest.mark.parametrize(
    "fields", [{}, {"clientUrl": "https://web.whatsapp.net/", "mediaKey": "AA=="}, {"clientUrl": URL}]
)
def test_the_copy_is_taken_without_a_key_where_whatsapps_cannot_be(fields: dict[str, Any]) -> None:
    found = one(**fields, fileUrl=COPY)
    assert (found.url, found.media_key, found.direct_path) == (COPY, None, None)


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
def test_events_that_are_no_messages_are_ignored(event: Any, known: bool) -> None:
    found = parsed(image(event=event))
    assert (len(found.attachments), found.ignored) == ((1, 0) if known else (0, 1))


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
def test_kinds(fields: dict[str, Any], kind: Kind | None) -> None:
    assert one(**fields).kind == kind


@pytest.mark.parametrize(
    "fields",
    [
        {"type": "chat"},
        {"type": "chat", "quotedMsg": {"type": "image", "mimetype": "image/jpeg", **PLACE}},
        {"type": "vcard", "mimetype": "text/vcard"},
        {"type": "revoked", "mimetype": "image/jpeg"},
        {"type": "location", "body": THUMBNAIL},
        {"type": "album"},
        {"type": None},
    ],
)
def test_messages_without_media_of_their_own_are_ignored(fields: dict[str, Any]) -> None:
    assert parsed(image(**fields)) == ParsedPayload(ignored=1)


@pytest.mark.parametrize("box", ["data", "response"])
def test_messages_come_at_the_top_or_in_a_box_alone_or_together(box: str) -> None:
    messages = [image(id="a"), image(type="chat"), None, image(id="b", session=None)]
    found = parsed({"event": "onmessage", "session": "shop", box: messages})
    assert [(each.message_id, each.session) for each in found.attachments] == [("a", "shop"), ("b", "shop")]
    assert found.ignored == 2
    alone = parsed({"event": "onmessage", "session": "shop", box: image(id="a")})
    assert [each.id for each in alone.attachments] == [found.attachments[0].id]


@pytest.mark.parametrize("box", [[], {}, [None], "text", None, 5])
def test_an_empty_box_is_ignored(box: Any) -> None:
    assert parsed({"event": "onmessage", "data": box}) == ParsedPayload(ignored=1)


@pytest.mark.parametrize(
    ("given_", "text"),
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
def test_the_same_id_in_every_form_is_the_same(given_: Any, text: str) -> None:
    assert one(id=given_).message_id == text


@pytest.mark.parametrize("nothing", [None, "", {}, {"id": 5}, {"remote": {}, "id": "3EB0"}])
def test_a_message_without_an_id_gets_one_that_a_repeat_gets_again(nothing: Any) -> None:
    found, again, other = one(id=nothing), one(id=nothing), one(id=nothing, body="another", directPath=PATH)
    assert found.message_id.startswith("sha256:")
    assert found.id == again.id != other.id


# --- bad input ---


def test_a_batch_has_a_limit() -> None:
    body = {"event": "onmessage", "data": [image()] * 5}
    assert len(wppconnect.parse(body, FEW).attachments) == 5
    with pytest.raises(PayloadError, match="at most 5 messages"):
        wppconnect.parse({"event": "onmessage", "data": [image()] * 6}, FEW)


def survives(body: Any) -> None:
    """Whatever it is: attachments that can be written down, or a PayloadError."""
    try:
        found = wppconnect.parse(body, FEW)
    except PayloadError:
        return
    for each in found.attachments:
        assert Attachment.model_validate_json(each.model_dump_json()) == each


@given(JSON, st.sampled_from(["id", "chatId", "type", "body", "size", "filehash", "sender", "mediaKey", "directPath"]))
def test_any_json_at_all_is_survived(body: Any, field: str) -> None:
    survives(body)
    survives({"event": "onmessage", "data": body})
    survives(image(**{field: body}))


@given(mutations("wppconnect"))
@trying(max_examples=300, suppress_health_check=[HealthCheck.too_slow])
def test_samples_with_something_else_in_them_are_survived(body: Any) -> None:
    survives(body)


@pytest.mark.parametrize("field", ["id", "chatId", "from", "author", "sender", "size", "filehash", "mediaKey", "t"])
def test_a_field_that_is_nested_without_end_is_survived(field: str) -> None:
    nested: Any = {}
    for _ in range(900):
        nested = {"remote": nested, "_serialized": nested}
    survives(image(**{field: nested}))
    survives(image(**{field: {"remote": nested, "user": nested, "server": nested, "participant": nested}}))


# --- who may call ---


def allowed(*, path: str | None = None, **headers: str) -> bool:
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    try:
        wppconnect.verify(HookRequest(headers=named, body=b"{}", secret=path), settings(wppconnect_secret=SECRET))
    except UnauthorizedError:
        return False
    return True


def test_the_secret_is_let_in_by_header_or_path() -> None:
    assert allowed(x_webhook_secret=SECRET)
    assert allowed(authorization=f"Bearer {SECRET}")
    assert allowed(path=SECRET)
    assert allowed(path=SECRET, x_webhook_secret="wrong", authorization="Basic eDp5")


@pytest.mark.parametrize("wrong", ["", " ", SECRET[:-1], SECRET + "x", SECRET.upper(), "sécret", f"Bearer {SECRET}"])
def test_a_wrong_secret_is_refused(wrong: str) -> None:
    assert not allowed()
    assert not allowed(path=wrong)
    assert not allowed(x_webhook_secret=wrong)
    assert not allowed(authorization=f"Bearer {wrong}" if wrong[:6] != "Bearer" else SECRET)


def test_a_refusal_tells_no_secret() -> None:
    with pytest.raises(UnauthorizedError) as caught:
        wppconnect.verify(HookRequest(headers={}, body=b"", secret="guessed"), settings(wppconnect_secret=SECRET))
    assert caught.value.code == Code.UNAUTHORIZED
    assert not [text for text in (SECRET, "guessed") if text in str(caught.value)]


@pytest.mark.parametrize("unset", [None, ""])
def test_nobody_is_let_in_before_a_secret_is_set(unset: str | None) -> None:
    shown = HookRequest(headers={"x-webhook-secret": "", "authorization": "Bearer "}, body=b"{}", secret="")
    with pytest.raises(NoSecretError) as caught:
        wppconnect.verify(shown, settings(wppconnect_secret=unset))
    assert caught.value.setting == "WPPCONNECT_SECRET"
