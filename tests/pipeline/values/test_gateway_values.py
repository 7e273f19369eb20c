"""Numbers split into halves by JavaScript, and the expiry times of WhatsApp's paths."""

from __future__ import annotations

import base64
import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.errors import PayloadError
from pipeline.models import Attachment, parse_attachment
from pipeline.values.gateway_values import error_text, url_expiry, whole_number

PATH = "/v/t62.7118-24/1_2_n.enc?ccb=11-4&oh=01_Q5&oe=6B0F2A80&_nc_sid=5e03e0"


def signed(half: int) -> int:
    return half - 2**32 if half >= 2**31 else half


@given(st.integers(0, 2**64 - 1), st.booleans())
def test_whole_number_joins_split_halves(number: int, as_signed: bool) -> None:
    low, high = number & 0xFFFFFFFF, number >> 32
    halves = (signed(low), signed(high)) if as_signed else (low, high)
    assert whole_number({"low": halves[0], "high": halves[1], "unsigned": True}) == number


@pytest.mark.parametrize(
    ("halves", "number"),
    [
        ({"low": 979, "high": 0, "unsigned": True}, 979),
        ({"low": -1, "high": 0, "unsigned": True}, 4_294_967_295),
        ({"low": -2147483648, "high": 0, "unsigned": False}, 2_147_483_648),
        ({"low": 0, "high": 1}, 4_294_967_296),
        ({"low": 2_147_483_647, "high": 1, "unsigned": True, "more": 1}, 6_442_450_943),
    ],
)
def test_attachment_reads_halves_as_gateways_send_them(halves: dict[str, Any], number: int) -> None:
    assert whole_number(halves) == number
    fields = {"session": "s", "message_id": "m", "url": "https://a/b"}
    attachment = parse_attachment({**fields, "size": halves, "timestamp": halves, "expires_at": halves})
    assert (attachment.size, attachment.timestamp, attachment.expires_at) == (number, number, number)


@pytest.mark.parametrize("value", [5, "5", 5.0, True, "many", [1], {"low": 1}, {"low": "1", "high": 0}, {"high": 1}])
def test_whole_number_keeps_other_values(value: Any) -> None:
    assert whole_number(value) == value


@pytest.mark.parametrize("empty", ["", None, {}, []])
def test_whole_number_of_an_empty_value_is_none(empty: Any) -> None:
    assert whole_number(empty) is None


@pytest.mark.parametrize("halves", [{"low": 0, "high": -1}, {"low": 1, "high": 2**21}, {"low": 1.5, "high": 0}])
def test_halves_outside_the_range_are_an_invalid_field(halves: dict[str, Any]) -> None:
    with pytest.raises(PayloadError) as caught:
        parse_attachment({"session": "s", "message_id": "m", "url": "https://a/b", "size": halves})
    assert caught.value.field == "size"


@pytest.mark.parametrize(
    ("url", "seconds"),
    [
        (PATH, 0x6B0F2A80),
        (f"https://mmg.whatsapp.net{PATH}&mms3=true", 0x6B0F2A80),
        ("/v/x?oe=6b0f2a80", 0x6B0F2A80),
        ("/v/x?oe=00000000", 0),
        ("/v/x?ccb=1&oe=6B0F2A8", None),
        ("/v/x?oe=6B0F2A801", None),
        ("/v/x?oe=6B0F2A8G", None),
        ("/v/x?shoe=6B0F2A80", None),
        ("/v/oe=6B0F2A80", None),
        ("/v/x?oe=", None),
        ("https://media.example/photo.jpg", None),
        ("", None),
        (None, None),
    ],
)
def test_url_expiry_is_read_from_the_query(url: str | None, seconds: int | None) -> None:
    assert url_expiry(url) == seconds


@pytest.mark.parametrize(
    ("fields", "seconds"),
    [
        ({"direct_path": PATH}, 0x6B0F2A80),
        ({"url": f"https://mmg.whatsapp.net{PATH}"}, 0x6B0F2A80),
        ({"direct_path": PATH, "url": "https://a/b?oe=00000001"}, 0x6B0F2A80),
        ({"direct_path": "/v/x", "url": "https://a/b?oe=00000001"}, 1),
        ({"direct_path": PATH, "expires_at": 5}, 5),
        ({"url": "https://a/b"}, None),
    ],
)
def test_attachment_expiry_is_its_field_or_that_of_its_url(fields: dict[str, Any], seconds: int | None) -> None:
    assert Attachment(session="s", message_id="m", **fields).expiry == seconds


KEY = bytes(range(100, 132))


@pytest.mark.parametrize(
    "quoted",
    [
        base64.b64encode(KEY).decode(),
        base64.urlsafe_b64encode(KEY).decode().rstrip("="),
        KEY.hex(),
        KEY.hex().upper(),
        json.dumps(list(KEY)),
        json.dumps({"mediaKey": list(KEY)}, separators=(",", ":")),
        json.dumps(dict(enumerate(KEY)), indent=1),
        f"<Buffer {KEY.hex(' ')}>",
        f"Uint8Array(32) [\n  {', '.join(map(str, KEY))}\n]",
    ],
)
def test_error_text_shows_no_key_that_a_server_quotes(quoted: str) -> None:
    shown = error_text(f"cannot decrypt with {quoted}")
    assert shown.startswith("cannot decrypt with ")
    assert "(data)" in shown
    assert not any(part in shown for part in (quoted[-20:], "103", "67 68", KEY.hex()[:20]))


def test_error_text_shows_no_signature_of_a_path() -> None:
    assert error_text(f"GET {PATH} answers 410") == "GET /v/t62.7118-24/1_2_n.enc?(query) answers 410"


@pytest.mark.parametrize(
    "said",
    [
        "Message not found",
        "status code 403",
        "Media size 1,024,000 exceeds the maximum limit",
        "3EB0A1B2C3D4E5F60718 ?",
    ],
)
def test_error_text_keeps_what_is_no_data(said: str) -> None:
    assert error_text(said) == said
