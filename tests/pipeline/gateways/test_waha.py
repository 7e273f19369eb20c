"""WAHA's hook: authentication, and the media messages of each engine."""

from __future__ import annotations

import hashlib
import hmac
import json
import time
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given

from pipeline.config.settings import Settings, load_settings
from pipeline.errors import Code, PayloadError
from pipeline.gateways import GATEWAYS, HookRequest, NoSecretError, ParsedPayload, UnauthorizedError
from pipeline.models import Attachment, Kind
from tests.support.json_shapes import ANY_JSON, mutations

PAYLOADS = Path(__file__).parents[2] / "payloads" / "waha"
SAMPLES = {path.stem: json.loads(path.read_text()) for path in sorted(PAYLOADS.glob("*.json"))}
WAHA = GATEWAYS["waha"]

# The example of WAHA's documentation, "HMAC authentication".
BODY = b'{"event":"message","session":"default","engine":"WEBJS"}'
KEY = "my-secret-key"
SIGNATURE = (
    "208f8a55dde9e05519e898b10b89bf0d0b3b0fdf11fdbf09b6b90476301b98d8"
    "097c462b2b17a6ce93b6b47a136cf2e78a33a63f6752c2c1631777076153fa89"
)


def settings(**values: Any) -> Settings:
    return load_settings(_env_file=None, **values)


def request(*, age_s: float = 0, **headers: str | None) -> HookRequest:
    fields = {
        "x-webhook-hmac": SIGNATURE,
        "x-webhook-hmac-algorithm": "sha512",
        "x-webhook-timestamp": str(int((time.time() - age_s) * 1000)),
        **{f"x-webhook-{name.replace('_', '-')}": value for name, value in headers.items()},
    }
    return HookRequest({name: value for name, value in fields.items() if value is not None})


def verify(request: HookRequest, body: bytes = BODY) -> None:
    check_body = WAHA.verify(request, settings(waha_hmac_key=KEY))
    assert check_body is not None
    check_body(body)


def parse(payload: Any, **values: Any) -> ParsedPayload:
    return WAHA.parse(payload, settings(**values))


def only_attachment(name: str, **values: Any) -> Attachment:
    parsed = parse(SAMPLES[name], **values)
    assert parsed.ignored == 0
    (attachment,) = parsed.attachments
    return attachment


def test_verify_accepts_the_documented_signature() -> None:
    verify(request())
    verify(request(hmac_algorithm=None))


@pytest.mark.parametrize(
    "signed",
    [
        request(hmac=None),
        request(hmac=""),
        request(hmac=SIGNATURE[:-1]),
        request(hmac=SIGNATURE.upper()),
        request(hmac=f"sha512={SIGNATURE}"),
        request(hmac=hmac.new(KEY.encode(), BODY, hashlib.sha256).hexdigest()),
        request(hmac="ção"),
        request(hmac_algorithm="sha256"),
    ],
)
def test_verify_refuses_a_malformed_signature_without_the_body(signed: HookRequest) -> None:
    with pytest.raises(UnauthorizedError, match="signature"):
        WAHA.verify(signed, settings(waha_hmac_key=KEY))


@pytest.mark.parametrize(
    ("signed", "body"),
    [
        (request(hmac="0" * 128), BODY),
        (request(), BODY + b" "),
        (request(), json.dumps(json.loads(BODY)).encode()),
        (request(), b""),
    ],
)
def test_verify_refuses_the_signature_of_another_body(signed: HookRequest, body: bytes) -> None:
    with pytest.raises(UnauthorizedError, match="signature"):
        verify(signed, body)


def test_verify_checks_the_raw_body_with_any_characters() -> None:
    body = '{"a": "\\u00e7\\ud83d\\ude00 ç😀"}'.encode()
    signature = hmac.new(KEY.encode(), body, hashlib.sha512).hexdigest()
    verify(request(hmac=signature), body)
    with pytest.raises(UnauthorizedError):
        verify(request(hmac=signature), json.dumps(json.loads(body)).encode())


def test_verify_without_a_key_names_the_missing_setting() -> None:
    with pytest.raises(NoSecretError) as error:
        WAHA.verify(request(), settings())
    assert error.value.setting == "WAHA_HMAC_KEY"


@pytest.mark.parametrize("age_s", [0, 44 * 3600, -3600])
def test_verify_accepts_requests_as_long_as_waha_retries_them(age_s: float) -> None:
    verify(request(age_s=age_s))


@pytest.mark.parametrize("age_s", [49 * 3600, -49 * 3600])
def test_verify_refuses_a_request_with_a_distant_timestamp(age_s: float) -> None:
    with pytest.raises(UnauthorizedError, match="Timestamp"):
        verify(request(age_s=age_s))


@pytest.mark.parametrize("timestamp", [None, "", "now", "1e12", "-1", "٣", "9" * 5000])
def test_verify_refuses_an_invalid_timestamp(timestamp: str | None) -> None:
    with pytest.raises(UnauthorizedError, match="Timestamp"):
        verify(request(timestamp=timestamp))


def test_every_sample_has_one_attachment_or_is_named_ignored() -> None:
    assert len(SAMPLES) >= 16
    for name, sample in SAMPLES.items():
        parsed = parse(sample)
        assert (len(parsed.attachments), parsed.ignored) == ((0, 1) if name.startswith("ignored") else (1, 0)), name
        for attachment in parsed.attachments:
            assert attachment.gateway == "waha"
            assert attachment.session == sample["session"]
            assert attachment.message_id == sample["payload"]["id"]
            assert attachment.fault is None or attachment.url is None


def test_attachment_has_the_fields_of_its_message() -> None:
    assert only_attachment("webjs_image").model_dump(exclude_none=True) == {
        "gateway": "waha",
        "session": "vendas",
        "message_id": "false_5511988880001@c.us_3EB00000000000000001",
        "part": 0,
        "url": "http://localhost:3000/api/files/vendas/false_5511988880001@c.us_3EB00000000000000001.jpeg",
        "kind": Kind.IMAGE,
        "mimetype": "image/jpeg",
        "size": 48213,
        "caption": "Olha só 📷",
        "chat": "5511988880001@c.us",
        "sender": "5511988880001@c.us",
        "identity": "false::3EB00000000000000001",
        "chat_number": "5511988880001",
        "sender_number": "5511988880001",
        "timestamp": 1790000000,
        "from_history": False,
        "expires_at": 1790000003 + 180,
    }


@pytest.mark.parametrize(
    ("name", "kind", "size"),
    [
        ("webjs_voice_note", Kind.PTT, 7811),
        ("webjs_own_document", Kind.DOCUMENT, 91234),
        ("noweb_group_voice_note", Kind.PTT, 8123),
        ("noweb_view_once_video", Kind.VIDEO, 1048576),
        ("noweb_own_sticker", Kind.STICKER, 20480),
        ("gows_audio", Kind.AUDIO, 345678),
        ("gows_document_with_caption", Kind.DOCUMENT, 10240),
        ("older_version", Kind.IMAGE, None),
    ],
)
def test_kind_and_size_are_read_from_each_engine(name: str, kind: Kind, size: int | None) -> None:
    attachment = only_attachment(name)
    assert (attachment.kind, attachment.size) == (kind, size)


@pytest.mark.parametrize(
    ("mimetype", "filename", "kind"),
    [
        ("audio/ogg; codecs=opus", None, None),
        ("image/webp", None, None),
        ("image/png", None, Kind.IMAGE),
        ("Video/MP4", None, Kind.VIDEO),
        ("audio/mp4", None, Kind.AUDIO),
        ("image/png", "planta.png", Kind.DOCUMENT),
        ("application/pdf", None, None),
        (None, None, None),
    ],
)
def test_kind_without_engine_data_is_none_if_it_is_ambiguous(
    mimetype: str | None, filename: str | None, kind: Kind | None
) -> None:
    media = {"url": "http://w/x", "mimetype": mimetype, "filename": filename}
    (attachment,) = parse({"event": "message", "session": "shop", "payload": {"id": "1", "media": media}}).attachments
    assert attachment.kind == kind


@pytest.mark.parametrize("size", [0, -1, 10**400, 2**53 + 1, "9" * 5000, "١٢", "1e3", None, [1], {"low": 0, "high": 0}])
def test_invalid_size_is_none_and_no_fault(size: Any) -> None:
    message = {**SAMPLES["webjs_image"]["payload"], "_data": {"type": "image", "size": size}}
    (attachment,) = parse({"event": "message", "session": "shop", "payload": message}).attachments
    assert (attachment.size, attachment.fault) == (None, None)


def test_chat_and_sender_are_set_in_groups_and_in_own_messages() -> None:
    group = only_attachment("noweb_group_voice_note")
    assert (group.chat, group.sender) == ("120363000000000001@g.us", "5511988880002@c.us")
    for name in ("webjs_own_document", "noweb_own_sticker"):
        own = only_attachment(name)
        assert (own.chat, own.sender) == ("5511988880001@c.us", "5511900000000@c.us")


def test_both_events_of_a_message_have_the_same_attachment_id() -> None:
    first = only_attachment("webjs_image")
    (second,) = parse({**SAMPLES["webjs_image"], "event": "message.any", "id": "evt_2"}).attachments
    assert first.id == second.id


def test_media_that_waha_lacks_have_a_fault_with_the_reason() -> None:
    failed = only_attachment("gows_failed_download").fault
    assert failed is not None
    assert failed.code == Code.GATEWAY_ERROR
    assert "download failed with status code 404" in failed.message
    for name in ("not_downloaded", "without_media"):
        fault = only_attachment(name).fault
        assert fault is not None
        assert (fault.code, "WAHA_EVENTS_DOWNLOAD_MEDIA" in fault.message) == (Code.NO_SOURCE, True)


@pytest.mark.parametrize(
    ("error", "expected"),
    [
        ({"message": "no"}, "no"),
        ("text", "text"),
        ({}, None),
        ({"code": 13}, "13"),
        ([["deep"]], "no reason given"),
        ({"code": 10**5000}, "no reason given"),
        ({"details": "at https://mmg.whatsapp.net/a?oh=secret end\n x"}, "at (URL) end x"),
        ({"message": "x" * 5000}, "x" * 200),
    ],
)
def test_fault_from_waha_has_a_limited_message_without_a_url(error: Any, expected: str | None) -> None:
    payload = {
        "event": "message",
        "session": "shop",
        "payload": {"id": "1", "hasMedia": True, "media": {"url": None, "error": error}},
    }
    (attachment,) = parse(payload).attachments
    assert attachment.fault is not None
    if expected is None:  # an empty error counts as none
        assert attachment.fault.code == Code.NO_SOURCE
    else:
        assert attachment.fault.message == f"WAHA could not download the file: {expected}"


def test_expiry_follows_the_files_lifetime_except_in_s3() -> None:
    assert only_attachment("webjs_image", waha_files_lifetime_s=60).expires_at == 1790000063
    assert only_attachment("webjs_image", waha_files_lifetime_s=0).expires_at is None
    assert only_attachment("older_version").expires_at == 1667561485 + 180
    assert only_attachment("s3_image").expires_at is None


@given(ANY_JSON | mutations(list(SAMPLES.values())))
def test_parse_accepts_any_json(payload: Any) -> None:
    try:
        parsed = parse(payload, default_session="unknown")
    except PayloadError as refusal:
        if refusal.field != "session":
            raise
        return
    assert len(parsed.attachments) + parsed.ignored == 1


@pytest.mark.parametrize("field", ["id", "from", "body", "timestamp", "media", "_data", "participant"])
def test_invalid_field_still_gives_one_attachment(field: str) -> None:
    nested: Any = []
    for _ in range(5000):
        nested = [nested]
    for invalid in (nested, {"a": nested}, 10**400, "\ud800\0", float("nan")):
        message = {**SAMPLES["webjs_image"]["payload"], field: invalid}
        (attachment,) = parse({**SAMPLES["webjs_image"], "payload": message}).attachments
        assert attachment.gateway == "waha"
