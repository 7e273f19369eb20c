"""Numbers in the halves of JavaScript, and the times at which WhatsApp's paths stop working."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.errors import PayloadError
from pipeline.models import Attachment, parse_attachment
from pipeline.values.gateway_values import url_expiry, whole_number

PATH = "/v/t62.7118-24/1_2_n.enc?ccb=11-4&oh=01_Q5&oe=6B0F2A80&_nc_sid=5e03e0"


def signed(half: int) -> int:
    return half - 2**32 if half >= 2**31 else half


@given(st.integers(0, 2**64 - 1), st.booleans())
def test_halves_make_the_number_that_was_split(number: int, as_signed: bool) -> None:
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
def test_halves_as_gateways_send_them(halves: dict[str, Any], number: int) -> None:
    assert whole_number(halves) == number
    fields = {"session": "s", "message_id": "m", "url": "https://a/b"}
    found = parse_attachment({**fields, "size": halves, "timestamp": halves, "expires_at": halves})
    assert (found.size, found.timestamp, found.expires_at) == (number, number, number)


@pytest.mark.parametrize(
    "value", [5, "5", 5.0, True, "many", [1], {}, {"low": 1}, {"low": "1", "high": 0}, {"high": 1}]
)
def test_what_is_not_split_stays_as_it_is(value: Any) -> None:
    assert whole_number(value) == value


@pytest.mark.parametrize("nothing", ["", None])
def test_nothing_is_no_number(nothing: Any) -> None:
    assert whole_number(nothing) is None


@pytest.mark.parametrize("halves", [{"low": 0, "high": -1}, {"low": 1, "high": 2**21}, {"low": 1.5, "high": 0}])
def test_halves_of_what_no_file_has_are_a_bad_field(halves: dict[str, Any]) -> None:
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
def test_a_path_tells_when_it_expires(url: str | None, seconds: int | None) -> None:
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
def test_an_attachment_expires_when_it_says_or_when_its_path_does(fields: dict[str, Any], seconds: int | None) -> None:
    assert Attachment(session="s", message_id="m", **fields).expiry == seconds
