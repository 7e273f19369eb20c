"""The Cloud API's hook: Meta's signature, all messages of a batch, and media ids."""

from __future__ import annotations

import hashlib
import hmac
import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.config.settings import Settings, load_settings
from pipeline.errors import Code, PayloadError
from pipeline.gateways import GATEWAYS, HookRequest, NoSecretError, ParsedPayload, UnauthorizedError
from pipeline.models import Attachment, Fault, Kind
from tests.support.http_client import local_http_client
from tests.support.json_shapes import ANY_JSON, mutations
from tests.support.payloads import media_file

PAYLOADS = Path(__file__).parents[2] / "payloads" / "cloud"
SAMPLES = {path.stem: json.loads(path.read_text()) for path in sorted(PAYLOADS.glob("*.json"))}
CLOUD = GATEWAYS["cloud"]

# The published example of the same header and algorithm: docs.github.com, "Validating webhook deliveries".
BODY = b"Hello, World!"
SECRET = "It's a Secret to Everybody"
SIGNATURE = "757107ea0eb2509fc211221cce984b8a37570b6d7586c22c46f4379c8b043e17"


def settings(**values: Any) -> Settings:
    return load_settings(_env_file=None, **values)


def verify(body: bytes, signature: str | None, *, secret: str = SECRET) -> None:
    headers = {} if signature is None else {"x-hub-signature-256": signature}
    check_body = CLOUD.verify(HookRequest(headers), settings(cloud_app_secret=secret))
    assert check_body is not None
    check_body(body)


def parse(payload: Any, **values: Any) -> ParsedPayload:
    return CLOUD.parse(payload, settings(**values))


def only_attachment(name: str) -> Attachment:
    parsed = parse(SAMPLES[name])
    assert parsed.ignored == 0
    (attachment,) = parsed.attachments
    return attachment


def with_messages(*messages: Any) -> Any:
    value = {"metadata": {"phone_number_id": "1"}, "messages": list(messages)}
    return {"entry": [{"changes": [{"field": "messages", "value": value}]}]}


def test_verify_accepts_the_published_signature() -> None:
    verify(BODY, f"sha256={SIGNATURE}")


@pytest.mark.parametrize(
    ("body", "signature"),
    [
        (BODY, None),
        (BODY, ""),
        (BODY, "sha256="),
        (BODY, SIGNATURE),
        (BODY, f"sha256={SIGNATURE[:-1]}"),
        (BODY, f"sha256={SIGNATURE.upper()}"),
        (BODY, f"SHA256={SIGNATURE}"),
        (BODY, f"sha1={SIGNATURE}"),
        (BODY, "sha1=" + hmac.new(SECRET.encode(), BODY, hashlib.sha1).hexdigest()),
        (BODY, f"sha256=sha256={SIGNATURE}"),
        (BODY, "sha256=ção"),
        (b"Hello, World", f"sha256={SIGNATURE}"),
        (b"", f"sha256={SIGNATURE}"),
    ],
)
def test_verify_refuses_any_other_signature(body: bytes, signature: str | None) -> None:
    with pytest.raises(UnauthorizedError):
        verify(body, signature)


@pytest.mark.parametrize("signature", ["", f"sha256={SIGNATURE[:-1]}", f"sha1={SIGNATURE}", "sha256=ção"])
def test_verify_refuses_a_malformed_signature_without_the_body(signature: str) -> None:
    with pytest.raises(UnauthorizedError):
        CLOUD.verify(HookRequest({"x-hub-signature-256": signature}), settings(cloud_app_secret=SECRET))


def test_verify_refuses_a_signature_of_another_secret() -> None:
    with pytest.raises(UnauthorizedError):
        verify(BODY, f"sha256={SIGNATURE}", secret="it's a secret to everybody")


def test_verify_checks_the_raw_body_with_metas_escapes() -> None:
    body = b'{"caption": "\\u00e4\\u00f6\\u00e5 \\/"}'
    signature = "sha256=" + hmac.new(SECRET.encode(), body, hashlib.sha256).hexdigest()
    verify(body, signature)
    for same_json in (json.dumps(json.loads(body)), json.dumps(json.loads(body), ensure_ascii=False)):
        with pytest.raises(UnauthorizedError):
            verify(same_json.encode(), signature)


def test_verify_without_a_secret_names_the_missing_setting() -> None:
    with pytest.raises(NoSecretError) as error:
        CLOUD.verify(HookRequest({"x-hub-signature-256": f"sha256={SIGNATURE}"}), settings())
    assert error.value.setting == "CLOUD_APP_SECRET"


def test_every_sample_has_attachments_unless_it_is_named_ignored() -> None:
    assert len(SAMPLES) >= 18
    for name, sample in SAMPLES.items():
        parsed = parse(sample)
        assert bool(parsed.attachments) != name.startswith("ignored"), name
        assert parsed.ignored or not name.startswith("ignored"), name
        for attachment in parsed.attachments:
            assert (attachment.gateway, attachment.url, attachment.timestamp) == ("cloud", None, 1790000000), name
            assert attachment.sender, name
            assert (attachment.remote_id is None) == (name in {"without_an_id", "too_large_for_meta"}), name


def test_attachment_has_the_message_fields_but_not_metas_url() -> None:
    assert only_attachment("image").model_dump(exclude_none=True) == {
        "gateway": "cloud",
        "session": "106540352242922",
        "message_id": "wamid.HBgN00000000000000000001",
        "part": 0,
        "from_history": False,
        "kind": Kind.IMAGE,
        "mimetype": "image/jpeg",
        "file_sha256": hashlib.sha256(b"i").hexdigest(),
        "chat": "5511988880001",
        "sender": "5511988880001",
        "chat_number": "5511988880001",
        "sender_number": "5511988880001",
        "caption": "A fachada",
        "timestamp": 1790000000,
        "expires_at": 1790000000 + 7 * 24 * 3600,
        "remote_id": "1003383421387256",
    }


@pytest.mark.parametrize(
    ("name", "kind", "file"),
    [
        ("voice_note", Kind.PTT, b"v"),  # this hash is hex, the others are base64
        ("audio_file", Kind.AUDIO, b"a"),
        ("video", Kind.VIDEO, b"m"),
        ("document", Kind.DOCUMENT, b"d"),
        ("animated_sticker", Kind.STICKER, b"s"),
        ("echo_of_the_app", Kind.IMAGE, b"e"),
    ],
)
def test_attachment_has_its_kind_and_hash(name: str, kind: Kind, file: bytes) -> None:
    attachment = only_attachment(name)
    assert (attachment.kind, attachment.file_sha256) == (kind, hashlib.sha256(file).hexdigest())
    assert attachment.filename == ("contrato.pdf" if name == "document" else None)


def test_chat_and_sender_are_set_without_a_number_in_groups_and_in_echoes() -> None:
    chats_and_senders = {
        name: (only_attachment(name).chat, only_attachment(name).sender)
        for name in ("user_id_alone", "group_image", "echo_of_the_app")
    }
    assert chats_and_senders == {
        "user_id_alone": ("BR.13491208655302741918", "BR.13491208655302741918"),
        "group_image": ("Y2FwaV9ncm91cDox", "5511988880001"),
        "echo_of_the_app": ("5511988880001", "551140000000"),
    }


def test_sender_without_an_id_is_the_only_contact() -> None:
    payload = with_messages({"id": "w", "type": "image", "image": {"id": "1"}})
    payload["entry"][0]["changes"][0]["value"]["contacts"] = [{"user_id": "BR.1"}]
    assert parse(payload).attachments[0].sender == "BR.1"
    payload["entry"][0]["changes"][0]["value"]["contacts"].append({"user_id": "BR.2"})
    assert parse(payload).attachments[0].sender is None  # ambiguous: two contacts


def test_parse_reads_all_changes_of_a_batch() -> None:
    parsed = parse(SAMPLES["batch_of_two_numbers"])
    assert [(attachment.session, attachment.kind) for attachment in parsed.attachments] == [
        ("106540352242922", Kind.IMAGE),
        ("106540352242922", Kind.PTT),
        ("206540352242922", Kind.DOCUMENT),
    ]
    assert len({attachment.id for attachment in parsed.attachments}) == 3
    assert parsed.ignored == 5  # a text, a reaction, three delivery statuses


def test_batch_limit_counts_the_messages_of_all_changes() -> None:
    image = {"id": "w", "type": "image", "image": {"id": "1"}}
    payload = with_messages(image, image)
    payload["entry"] *= 2
    assert len(parse(payload, max_batch=4).attachments) == 4
    with pytest.raises(PayloadError, match="MAX_BATCH"):
        parse(payload, max_batch=3)


def test_media_that_meta_could_not_download_have_a_fault_with_the_reason() -> None:
    large, broken = only_attachment("too_large_for_meta"), only_attachment("image_with_error")
    assert large.fault == Fault(
        code=Code.GATEWAY_ERROR,
        message="Meta could not download the file: 131052 Media file size too big. Max file size we currently support: "
        "100MB.",
    )
    assert broken.fault is not None
    assert (broken.kind, broken.fault.message) == (
        Kind.IMAGE,
        "Meta could not download the file: 131052 Media download error",
    )
    missing = only_attachment("without_an_id").fault
    assert missing is not None
    assert missing.code == Code.NO_SOURCE


def test_fault_from_meta_has_a_limited_message_without_a_url() -> None:
    title = "see https://lookaside.fbsbx.com/?hash=secret " + "x" * 5000
    message = {"id": "w", "type": "image", "image": {"id": "1"}, "errors": [{"code": 1, "title": title}]}
    (attachment,) = parse(with_messages(message)).attachments
    assert attachment.fault is not None
    assert attachment.fault.message.startswith("Meta could not download the file: 1 see (URL) xxx")
    assert len(attachment.fault.message) < 250


@pytest.mark.parametrize("kind", ["image", "video", "audio", "document", "sticker"])
def test_unsupported_message_is_an_attachment_if_it_was_media(kind: str) -> None:
    message = {"id": "w", "type": "unsupported", "unsupported": {"type": kind}, "errors": [{"code": 131051}]}
    (attachment,) = parse(with_messages(message)).attachments
    assert attachment.fault is not None
    assert attachment.kind is None
    assert parse(with_messages({**message, "unsupported": {"type": "poll_creation"}})) == ParsedPayload(ignored=1)


@given(ANY_JSON | mutations(list(SAMPLES.values())))
def test_parse_accepts_any_json(payload: Any) -> None:
    try:
        parsed = parse(payload, default_session="unknown")
    except PayloadError as refusal:
        if refusal.field != "phone_number_id":
            raise
        return
    assert parsed.attachments or parsed.ignored


@given(
    st.dictionaries(st.sampled_from(["id", "type", "image", "errors", "timestamp", "from", "unsupported"]), ANY_JSON)
)
def test_parse_accepts_any_message_fields(message: Any) -> None:
    parsed = parse(with_messages(message))
    assert len(parsed.attachments) + parsed.ignored == 1


@pytest.mark.parametrize("field", ["id", "mime_type", "sha256", "caption", "filename", "voice"])
def test_invalid_field_affects_only_its_own_attachment(field: str) -> None:
    deep: Any = []
    for _ in range(5000):
        deep = [deep]
    good = {"id": "a", "type": "audio", "audio": {"id": "2"}}
    for invalid in (deep, {"a": deep}, 10**400, "\ud800\0", float("nan")):
        node = {"id": "1", "mime_type": "audio/ogg", "voice": True, field: invalid}
        parsed = parse(with_messages({"id": "w", "timestamp": "1", "type": "audio", "audio": node}, good))
        assert [attachment.fault for attachment in parsed.attachments][1:] == [None]


# --- media in other nodes ---


def nested(**message: Any) -> tuple[Attachment, ...]:
    parsed = parse(with_messages({"id": "wamid.1", "from": "5511", "timestamp": "1790000000", **message}))
    assert bool(parsed.ignored) != bool(parsed.attachments)
    return parsed.attachments


def flow_answer(answer: Any) -> dict[str, Any]:
    reply = {"name": "flow", "body": "Sent", "response_json": json.dumps(answer)}
    return {"type": "interactive", "interactive": {"type": "nfm_reply", "nfm_reply": reply}}


def test_files_of_a_flow_have_media_ids_names_and_hashes() -> None:
    first, second = parse(SAMPLES["flow_with_two_documents"]).attachments
    assert (first.remote_id, second.remote_id) == ("2728609361771523", "2728609361771524")
    assert (first.part, second.part, first.filename) == (0, 1, "contrato.pdf")
    assert first.file_sha256 == second.file_sha256 == hashlib.sha256(media_file("report.pdf")).hexdigest()
    assert first.id != second.id
    assert first.expires_at


def test_answer_of_a_flow_without_files_is_ignored() -> None:
    assert nested(**flow_answer({"flow_token": "x", "id": "7", "choice": "a"})) == ()


@pytest.mark.parametrize(
    "message",
    [
        {"type": "interactive", "interactive": {"header": {"type": "image", "image": {"id": "9"}}}},
        {"type": "template", "template": {"components": [{"parameters": [{"type": "image", "image": {"id": "9"}}]}]}},
        {"type": "interactive", "interactive": {"action": {"cards": [{"header": {"image": {"id": "9"}}}]}}},
    ],
)
def test_media_of_headers_and_cards_are_attachments(message: dict[str, Any]) -> None:
    (attachment,) = nested(**message)
    assert (attachment.kind, attachment.remote_id, attachment.fault) == (Kind.IMAGE, "9", None)


def test_header_with_a_link_is_fetched_without_a_token() -> None:
    header = {"document": {"link": "https://shop.example/a.pdf", "filename": "a.pdf"}}
    (attachment,) = nested(type="interactive", interactive={"header": header})
    assert (attachment.url, attachment.remote_id, attachment.fault) == ("https://shop.example/a.pdf", None, None)
    source = CLOUD.source(attachment, local_http_client(), settings(cloud_access_token="EAAx"))
    assert (source.url, source.credentials) == ("https://shop.example/a.pdf", {})


def test_pictures_of_advertisements_and_products_that_were_referred_to_are_ignored() -> None:
    referral = {"media_type": "image", "image_url": "https://a/x.jpg", "image": {"id": "1"}}
    assert nested(type="text", text={"body": "oi"}, referral=referral, context={"image": {"id": "1"}}) == ()
    assert nested(type="interactive", interactive={"button_reply": {"id": "1", "title": "ok"}}) == ()


def test_media_of_all_messages_are_within_the_limit() -> None:
    with pytest.raises(PayloadError, match="MAX_BATCH"):
        parse(SAMPLES["flow_with_two_documents"], max_batch=1)
