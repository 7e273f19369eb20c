"""Strict JSON decoding, and the memory limit of all bodies."""

from __future__ import annotations

import asyncio
import json
from contextlib import AsyncExitStack, suppress
from typing import Any

import pytest
from fastapi import Request
from hypothesis import given
from hypothesis import strategies as st

from esteira.web.intake.bodies import MAX_DEPTH, BodyReader, decode
from pipeline.config.settings import load_settings
from pipeline.errors import PayloadError, RetryableError

PLAIN = st.none() | st.booleans() | st.integers(-(2**60), 2**60) | st.floats(allow_nan=False, allow_infinity=False)
ANY = st.recursive(PLAIN | st.text(), lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner), max_leaves=30)


@given(ANY, st.booleans())
def test_decode_returns_what_was_encoded(value: Any, escaped: bool) -> None:
    text = json.dumps(value, ensure_ascii=escaped)
    assert decode(text.encode()) == value


@given(st.binary())
def test_decode_raises_only_payload_errors(body: bytes) -> None:
    with suppress(PayloadError):
        decode(body)


@pytest.mark.parametrize(
    ("body", "message"),
    [
        (b"", "not JSON"),
        (b'{"a": 1', "not JSON"),
        (b"\xff\xfe{\x00}\x00", "not JSON"),
        (b'{"a": "\xed\xa0\x80"}', "not JSON"),
        (b"[NaN]", "not JSON"),
        (b"[-Infinity]", "not JSON"),
        (b"[1e999]", "not JSON"),
        (b"9" * 5000, "not JSON"),
        (b'{"a": 1, "b": 2, "a": 1}', "duplicate name"),
        (b'[{"x": {"a": 1, "\\u0061": 2}}]', "duplicate name"),
        (b"[" * 10_000 + b"]" * 10_000, "not JSON"),
    ],
)
def test_decode_refuses_invalid_json(body: bytes, message: str) -> None:
    with pytest.raises(PayloadError, match=message):
        decode(body)


def nested(levels: int) -> bytes:
    inner: Any = {}
    for number in range(levels - 1):
        inner = {"a": inner} if number % 2 else [inner, {}]
    return json.dumps(inner).encode()


def test_decode_limits_the_depth() -> None:
    assert decode(nested(MAX_DEPTH))
    with pytest.raises(PayloadError, match="nested deeper"):
        decode(nested(MAX_DEPTH + 1))


def test_brackets_in_text_do_not_count_as_depth() -> None:
    assert decode(json.dumps(["[{" * 500]).encode()) == ["[{" * 500]


def request_with(body: bytes) -> Request:
    """A request whose body arrives in pieces."""
    pieces = [body[at : at + 10_000] for at in range(0, len(body), 10_000)]
    messages = iter([{"type": "http.request", "body": piece, "more_body": True} for piece in pieces])

    async def receive() -> Any:
        return next(messages, {"type": "http.request", "body": b"", "more_body": False})

    return Request({"type": "http", "method": "POST", "headers": []}, receive)


def test_small_bodies_are_accepted_while_the_memory_is_used_up(monkeypatch: pytest.MonkeyPatch) -> None:
    """Senders of large bodies, which are not authenticated yet, must not block the small messages of others."""
    monkeypatch.setattr("esteira.web.intake.bodies.MIN_MEMORY", 0)
    bodies = BodyReader(load_settings(_env_file=None, max_body_mb=0.1))

    async def read_many() -> None:
        async with AsyncExitStack() as stack:
            for _ in range(4):
                assert len(await stack.enter_async_context(bodies.read_body(request_with(b"x" * 100_000)))) == 100_000
            assert await stack.enter_async_context(bodies.read_body(request_with(b"y" * 60_000))) == b"y" * 60_000
            with pytest.raises(RetryableError, match="too_many_requests"):
                await stack.enter_async_context(bodies.read_body(request_with(b"z" * 80_000)))
        async with bodies.read_body(request_with(b"z" * 80_000)) as body:
            assert len(body) == 80_000

    asyncio.run(read_many())
