"""What all gateways share: a request as it came, and attachments of messages that lack something."""

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
    """An attachment that has a fault, and what it says."""
    found = build_attachment({**COMMON, **fields})
    assert found.fault is not None
    assert found.fault.code == Code.BAD_PAYLOAD
    return found, found.fault.message


def test_a_request_is_asked_for_headers_by_any_case_and_shows_no_secret() -> None:
    request = HookRequest(headers={"x-webhook-secret": "hidden"}, body=b"hidden", secret="hidden")
    assert request.header("X-Webhook-Secret") == request.header("x-webhook-secret") == "hidden"
    assert request.header("Authorization") == ""
    assert "hidden" not in repr(request)


def test_what_fits_has_no_fault() -> None:
    found = build_attachment({**COMMON, "kind": Kind.PTT, "size": "5", "url": "https://a/b", "caption": None})
    assert found == Attachment(**COMMON, kind=Kind.PTT, size=5, url="https://a/b")


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("url", 5),
        ("url", "https://a/" + "x" * 20_000),
        ("data", 5),
        ("data", "§"),
        ("data", "AAAA="),
        ("kind", "gif"),
        ("mimetype", {}),
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
def test_a_field_that_does_not_fit_is_left_out_and_named(field: str, value: Any) -> None:
    found, message = faulty(**{field: value, "chat": "5581@c.us"})
    assert message.startswith(f"{field}: ")
    assert message.count(f"{field}: ") == 1
    assert "xxx" not in message
    assert getattr(found, field) == getattr(Attachment(**COMMON), field)
    assert (found.gateway, found.session, found.message_id, found.chat) == ("waha", "shop", "m1", "5581@c.us")


def test_the_first_of_several_faults_is_told() -> None:
    found, message = faulty(size="big", timestamp="yesterday", data="§")
    assert message.startswith("size: ")
    assert (found.size, found.timestamp, found.data) == (None, None, None)


def test_a_fault_that_the_gateway_tells_stays() -> None:
    told = {"code": Code.GATEWAY_ERROR, "message": "131052: download failed"}
    found = build_attachment({**COMMON, "size": "big", "fault": told})
    assert found.fault is not None
    assert found.fault.code == Code.GATEWAY_ERROR


@pytest.mark.parametrize("session", [None, "", 0, {}, ["a"], "x" * 600, True])
def test_without_a_session_it_is_of_an_unknown_one(session: Any) -> None:
    assert build_attachment({**COMMON, "session": session}).session == "unknown"


@pytest.mark.parametrize("message_id", [None, "", {}, ["a"], "x" * 600, False, {"id": "m1"}])
def test_without_an_id_it_gets_one_from_what_it_says(message_id: Any) -> None:
    given_ = {**COMMON, "message_id": message_id, "url": "https://a/b", "size": 5}
    found, again = build_attachment(given_), build_attachment(dict(reversed(given_.items())))
    other = build_attachment({**given_, "size": 6})
    assert found.message_id.startswith("sha256:")
    assert len(found.message_id) == len("sha256:") + 64
    assert bool(found.fault) is bool(message_id)  # one that is missing is no fault, one that is wrong is
    assert found.id == again.id != other.id


def test_the_forms_of_gateways_are_read() -> None:
    raw = hashlib.sha256(b"x").digest()
    numbered = {str(index): byte for index, byte in enumerate(raw)}
    found = build_attachment(
        {
            **COMMON,
            "message_id": 7,
            "media_key": {"type": "Buffer", "data": list(raw)},
            "file_sha256": numbered,
            "file_enc_sha256": base64.b64encode(raw).decode(),
            "size": {"low": 5, "high": 0, "unsigned": True},
        }
    )
    assert (found.message_id, found.size, found.fault) == ("7", 5, None)
    assert found.media_key == base64.b64encode(raw).decode()
    assert found.file_sha256 == found.file_enc_sha256 == raw.hex()


def media_key_is_refused(attachment: Attachment) -> bool:
    with pytest.raises(PermanentError) as caught:
        media_keys(attachment.media_key or "", Kind.IMAGE)
    return caught.value.code == Code.DECRYPT_KEY


FIELDS = st.sampled_from([*Attachment.model_fields])


@given(st.dictionaries(FIELDS, JSON, max_size=6))
def test_there_is_always_an_attachment_and_it_can_be_written_down(fields: dict[str, Any]) -> None:
    found = build_attachment(fields)
    assert Attachment.model_validate_json(found.model_dump_json()) == found


@pytest.mark.parametrize("field", [*Attachment.model_fields])
@pytest.mark.parametrize("depth", [3, 900, 5000])
def test_a_field_that_is_nested_without_end_is_a_bad_one(field: str, depth: int) -> None:
    lists: Any = 1
    boxes: Any = 1
    for _ in range(depth):
        lists, boxes = [lists], {"data": boxes}
    for nested in (lists, boxes):
        found = build_attachment({**COMMON, field: nested})
        # A key that is none is left to fetch, which has a code of its own for it.
        assert found.fault if field != "media_key" else media_key_is_refused(found)
        assert Attachment.model_validate_json(found.model_dump_json()) == found


def test_a_body_has_a_limit_of_messages() -> None:
    check_batch_size(0, settings(max_batch=2))
    check_batch_size(2, settings(max_batch=2))
    with pytest.raises(PayloadError, match=r"at most 2 messages \(MAX_BATCH\)"):
        check_batch_size(3, settings(max_batch=2))


@pytest.mark.parametrize(("declared", "size"), [(5, 5), ("5", "5"), ("x", "x"), ({"low": 5, "high": 0}, 5), (-1, -1)])
def test_a_declared_size_stays(declared: Any, size: Any) -> None:
    assert declared_size(declared) == size


@pytest.mark.parametrize("nothing", [0, "0", "", None, {"low": 0, "high": 0, "unsigned": True}])
def test_a_size_of_nothing_is_none(nothing: Any) -> None:
    assert declared_size(nothing) is None


def test_broken_inline_bytes_do_no_harm_where_the_file_lies_elsewhere_too() -> None:
    elsewhere = build_attachment({"session": "s", "message_id": "m", "data": "%%%", "direct_path": "/v/t62/a"})
    nowhere = build_attachment({"session": "s", "message_id": "m", "data": "%%%"})
    assert (elsewhere.fault, elsewhere.data, elsewhere.direct_path) == (None, None, "/v/t62/a")
    assert nowhere.fault is not None
    assert nowhere.fault.code is Code.BAD_PAYLOAD
