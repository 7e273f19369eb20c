"""Limits on the length of everything that a sender declares."""

from __future__ import annotations

import json
from typing import Any

import pytest

from pipeline.errors import PayloadError
from pipeline.gateways import evolution, media
from pipeline.gateways.intake import build_attachment
from pipeline.models import parse_attachment
from pipeline.models.attachment import parse_stored_attachment
from pipeline.models.base import MAX_CAPTION, MAX_IDENTIFIER, MAX_KEY, MAX_MIMETYPE, MAX_URL
from pipeline.values.file_names import MAX_FILENAME_BYTES, display_name
from tests.support.checking import settings

ITEM = {"session": "shop", "message_id": "m1", "url": "https://media.example/x"}
LIMITS = {
    "session": MAX_IDENTIFIER,
    "message_id": MAX_IDENTIFIER,
    "chat": MAX_IDENTIFIER,
    "sender": MAX_IDENTIFIER,
    "media_key": MAX_KEY,
    "url": MAX_URL,
    "direct_path": MAX_URL,
}
HUGE = 1_000_000


@pytest.mark.parametrize(("field", "limit"), LIMITS.items())
def test_generic_json_refuses_a_longer_identifier_and_names_the_field(field: str, limit: int) -> None:
    assert getattr(parse_attachment({**ITEM, field: "x" * limit}), field) == "x" * limit
    with pytest.raises(PayloadError) as caught:
        parse_attachment({**ITEM, field: "x" * (limit + 1)})
    assert caught.value.field == field
    assert len(caught.value.message) < 100


@pytest.mark.parametrize("field", [*LIMITS, "file_sha256", "file_enc_sha256", "remote_id", "kind", "size", "timestamp"])
def test_gateway_rejects_a_message_with_a_longer_identifier_and_records_it(field: str) -> None:
    attachment = build_attachment({"gateway": "waha", **ITEM, field: "7" * HUGE})
    assert attachment.fault is not None
    assert attachment.fault.message.startswith(f"{field}: ")
    assert len(attachment.model_dump_json()) < 1000


def test_one_message_with_a_long_identifier_leaves_the_others_of_its_batch() -> None:
    def message(number: int, **key: str) -> dict[str, Any]:
        return {
            "key": {"id": f"m{number}", "remoteJid": "5511@s.whatsapp.net", **key},
            "message": {"imageMessage": {"directPath": f"/v/{number}", "mediaKey": "key"}},
        }

    messages = [message(0), message(1, remoteJid="5" * HUGE), message(2)]
    payload = {"event": "messages.upsert", "instance": "shop", "data": messages}
    attachments = evolution.parse(payload, settings()).attachments
    assert [bool(attachment.fault) for attachment in attachments] == [False, True, False]
    assert [attachment.message_id for attachment in attachments] == ["m0", "m1", "m2"]


@pytest.mark.parametrize(("field", "limit"), [("mimetype", MAX_MIMETYPE), ("caption", MAX_CAPTION)])
def test_longer_text_is_cut_and_ends_with_an_ellipsis(field: str, limit: int) -> None:
    [attachment] = media.parse({**ITEM, field: "é" * limit}, settings()).attachments
    assert getattr(attachment, field) == "é" * limit
    [attachment] = media.parse({**ITEM, field: "é" * (limit + 1)}, settings()).attachments
    assert getattr(attachment, field) == "é" * (limit - 1) + "…"


def test_type_of_a_cut_mimetype_is_still_known() -> None:
    assert parse_attachment({**ITEM, "mimetype": f"audio/ogg; codecs={'x' * HUGE}"}).media_type == "audio/ogg"


@pytest.mark.parametrize("name", ["a" * HUGE + ".pdf", "é" * HUGE + ".pdf", "/" * HUGE + "a" * HUGE + ".pdf"])
def test_huge_file_name_keeps_its_extension(name: str) -> None:
    shown = display_name(name)
    assert MAX_FILENAME_BYTES - 4 <= len(shown.encode()) <= MAX_FILENAME_BYTES
    assert shown.endswith(".pdf")


@pytest.mark.parametrize("name", ["a" * HUGE, "a." + "b" * HUGE, "\u202e" * HUGE + "a.pdf", "." * HUGE])
def test_huge_file_name_without_an_extension_is_cut(name: str) -> None:
    assert len((display_name(name) or "").encode()) <= MAX_FILENAME_BYTES


def test_the_middle_of_a_huge_file_name_is_not_read() -> None:
    shown = display_name("a" * HUGE + "/../" + "b" * HUGE + ".pdf")
    assert shown.startswith("aaa")
    assert shown.endswith("a.pdf")
    assert display_name("../" * HUGE + "b.pdf") == "b.pdf"


def test_row_from_before_the_limits_is_rejected_and_does_not_break_its_worker() -> None:
    attachment = parse_stored_attachment(json.dumps({**ITEM, "chat": "5" * HUGE, "sender": "alice"}))
    assert (attachment.chat, attachment.sender, attachment.url) == (None, "alice", ITEM["url"])
    assert attachment.fault is not None
    assert attachment.fault.message.startswith("chat: ")
