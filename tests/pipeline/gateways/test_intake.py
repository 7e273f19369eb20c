"""Code that all gateways share: hook requests, and attachments built from incomplete or invalid messages."""

from __future__ import annotations

import base64
import hashlib
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.errors import Code, PayloadError, PermanentError
from pipeline.gateways import HookRequest
from pipeline.gateways.intake import build_attachment, check_batch_size, declared_size
from pipeline.models import Attachment, Kind
from pipeline.security.whatsapp_media import media_keys
from tests.support.checking import settings
from tests.support.payloads import JSON

COMMON = {"gateway": "waha", "session": "shop", "message_id": "m1"}


def faulty(**fields: Any) -> tuple[Attachment, str]:
    """An attachment built from invalid fields, and the message of its fault."""
    attachment = build_attachment({**COMMON, **fields})
    assert attachment.fault is not None
    assert attachment.fault.code == Code.BAD_PAYLOAD
    return attachment, attachment.fault.message


def test_hook_request_headers_are_case_insensitive_and_its_repr_has_no_secret() -> None:
    request = HookRequest(headers={"x-webhook-secret": "hidden"}, secret="hidden")
    assert request.header("X-Webhook-Secret") == request.header("x-webhook-secret") == "hidden"
    assert request.header("Authorization") == ""
    assert "hidden" not in repr(request)


def test_attachment_of_valid_fields_has_no_fault() -> None:
    attachment = build_attachment({**COMMON, "kind": Kind.PTT, "size": "5", "url": "https://a/b", "caption": None})
    assert attachment == Attachment(**COMMON, kind=Kind.PTT, size=5, url="https://a/b")


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("url", 5),
        ("url", "https://a/" + "x" * 20_000),
        ("data", 5),
        ("data", "§"),
        ("data", "AAAA="),
        ("kind", "gif"),
        ("mimetype", {"a": 1}),
        ("filename", 5),
        ("size", -1),
        ("size", "big"),
        ("size", float("inf")),
        ("file_sha256", "ab"),
        ("file_enc_sha256", [1, 2]),
        ("timestamp", "yesterday"),
        ("part", -1),
        ("caption", ["a"]),
    ],
)
def test_invalid_field_is_left_out_and_named_in_the_fault(field: str, value: Any) -> None:
    attachment, message = faulty(**{field: value, "chat": "5581@c.us"})
    assert message.startswith(f"{field}: ")
    assert message.count(f"{field}: ") == 1
    assert "xxx" not in message
    assert getattr(attachment, field) == getattr(Attachment(**COMMON), field)
    assert (attachment.gateway, attachment.session, attachment.message_id, attachment.chat) == (
        "waha",
        "shop",
        "m1",
        "5581@c.us",
    )


def test_fault_names_the_first_of_several_invalid_fields() -> None:
    attachment, message = faulty(size="big", timestamp="yesterday", data="§")
    assert message.startswith("size: ")
    assert (attachment.size, attachment.timestamp, attachment.data) == (None, None, None)


def test_fault_of_the_gateway_is_kept() -> None:
    fault = {"code": Code.GATEWAY_ERROR, "message": "131052: download failed"}
    attachment = build_attachment({**COMMON, "size": "big", "fault": fault})
    assert attachment.fault is not None
    assert attachment.fault.code == Code.GATEWAY_ERROR


@pytest.mark.parametrize("session", [None, "", 0, {}, ["a"], "x" * 600, True])
def test_missing_or_invalid_session_is_named_unknown(session: Any) -> None:
    assert build_attachment({**COMMON, "session": session}).session == "unknown"


@pytest.mark.parametrize("message_id", [None, "", {}, ["a"], "x" * 600, False, {"id": "m1"}])
def test_missing_or_invalid_message_id_is_derived_from_the_fields(message_id: Any) -> None:
    fields = {**COMMON, "message_id": message_id, "url": "https://a/b", "size": 5}
    attachment, reordered = build_attachment(fields), build_attachment(dict(reversed(fields.items())))
    other = build_attachment({**fields, "size": 6})
    assert attachment.message_id.startswith("sha256:")
    assert len(attachment.message_id) == len("sha256:") + 64
    assert bool(attachment.fault) is bool(message_id)  # a missing id is no fault, an invalid id is
    assert attachment.id == reordered.id != other.id


def test_encodings_of_gateways_are_read() -> None:
    raw = hashlib.sha256(b"x").digest()
    numbered = {str(index): byte for index, byte in enumerate(raw)}
    attachment = build_attachment(
        {
            **COMMON,
            "message_id": 7,
            "media_key": {"type": "Buffer", "data": list(raw)},
            "file_sha256": numbered,
            "file_enc_sha256": base64.b64encode(raw).decode(),
            "size": {"low": 5, "high": 0, "unsigned": True},
        }
    )
    assert (attachment.message_id, attachment.size, attachment.fault) == ("7", 5, None)
    assert attachment.media_key == base64.b64encode(raw).decode()
    assert attachment.file_sha256 == attachment.file_enc_sha256 == raw.hex()


def media_key_is_refused(attachment: Attachment) -> bool:
    with pytest.raises(PermanentError) as caught:
        media_keys(attachment.media_key or "", Kind.IMAGE)
    return caught.value.code == Code.DECRYPT_KEY


FIELDS = st.sampled_from([*Attachment.model_fields])


@given(st.dictionaries(FIELDS, JSON, max_size=6))
def test_any_fields_give_an_attachment_that_survives_serialization(fields: dict[str, Any]) -> None:
    built = build_attachment(fields)
    assert Attachment.model_validate_json(built.model_dump_json()) == built


@pytest.mark.parametrize("field", [*Attachment.model_fields])
@pytest.mark.parametrize("depth", [3, 900, 5000])
def test_deeply_nested_field_is_invalid(field: str, depth: int) -> None:
    lists: Any = 1
    objects: Any = 1
    for _ in range(depth):
        lists, objects = [lists], {"data": objects}
    for nested in (lists, objects):
        attachment = build_attachment({**COMMON, field: nested})
        # An invalid media key is reported by fetch, which has an error code for it.
        assert attachment.fault if field != "media_key" else media_key_is_refused(attachment)
        assert Attachment.model_validate_json(attachment.model_dump_json()) == attachment


def test_batch_has_a_limit_of_messages() -> None:
    check_batch_size(0, settings(max_batch=2))
    check_batch_size(2, settings(max_batch=2))
    with pytest.raises(PayloadError, match=r"at most 2 messages \(MAX_BATCH\)"):
        check_batch_size(3, settings(max_batch=2))


@pytest.mark.parametrize(("declared", "size"), [(5, 5), ("5", "5"), ("x", "x"), ({"low": 5, "high": 0}, 5), (-1, -1)])
def test_declared_size_is_read_or_kept(declared: Any, size: Any) -> None:
    assert declared_size(declared) == size


@pytest.mark.parametrize("declared", [0, "0", "", None, {"low": 0, "high": 0, "unsigned": True}])
def test_zero_or_empty_size_is_none(declared: Any) -> None:
    assert declared_size(declared) is None


def test_invalid_inline_data_is_a_fault_only_without_another_source() -> None:
    with_path = build_attachment({"session": "s", "message_id": "m", "data": "%%%", "direct_path": "/v/t62/a"})
    without_path = build_attachment({"session": "s", "message_id": "m", "data": "%%%"})
    assert (with_path.fault, with_path.data, with_path.direct_path) == (None, None, "/v/t62/a")
    assert without_path.fault is not None
    assert without_path.fault.code is Code.BAD_PAYLOAD
