"""One text of a JSON object, read while the object arrives."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.values.json_member import JsonMemberError, json_text_member

JSON_VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=4), inner, max_size=3),
    max_leaves=8,
)
BASE64 = st.text(alphabet="ABCxyz019+/=-_", max_size=40)


def member(text: bytes, *, size: int = 7, max_other: int = 10_000) -> bytes:
    pieces = (text[start : start + size] for start in range(0, len(text), size))
    return b"".join(json_text_member(pieces, "base64", max_other=max_other))


@given(
    before=st.dictionaries(st.text(max_size=6).filter(lambda name: name != "base64"), JSON_VALUES, max_size=4),
    text=BASE64,
    size=st.integers(1, 20),
    indent=st.sampled_from([None, 2]),
)
def test_member_is_found_wherever_the_pieces_end(
    before: dict[str, Any], text: str, size: int, indent: int | None
) -> None:
    content = json.dumps({**before, "base64": text, "after": 1}, indent=indent)
    assert member(content.encode(), size=size) == text.encode()


@given(text=BASE64, size=st.integers(1, 5))
def test_escaped_slashes_are_slashes(text: str, size: int) -> None:
    content = json.dumps({"base64": text}).replace("/", "\\/")
    assert member(content.encode(), size=size) == text.encode()


@given(st.dictionaries(st.text(max_size=6).filter(lambda name: name != "base64"), JSON_VALUES, max_size=4))
def test_object_without_the_member_is_refused(content: dict[str, Any]) -> None:
    with pytest.raises(JsonMemberError):
        member(json.dumps(content).encode())


@pytest.mark.parametrize(
    "text",
    [
        b"",
        b"null",
        b'"base64"',
        b'[{"base64": "AAAA"}]',
        b"<html>",
        b'{"base64": null}',
        b'{"base64": 1, "a": "b"}',
        b'{"base64": {"base64": "AAAA"}}',
        b'{"a": {"base64": "AAAA"}}',
        b'{"base64": "AAAA',
        b'{"base64": "AA\\u0041A"}',
        b'{"a": "base64", "AAAA": "base64"}',
        b'{"a": ' + b"[" * 50_000,
        b'{"a": "' + b"x" * 50_000,
    ],
)
def test_anything_else_is_refused(text: bytes) -> None:
    with pytest.raises(JsonMemberError):
        member(text, size=1000)


@pytest.mark.parametrize("rest", [b"", b"garbage", b"}" * 9])
def test_what_follows_the_text_is_not_read(rest: bytes) -> None:
    assert member(b'{"base64": "AAAA"' + rest) == b"AAAA"
