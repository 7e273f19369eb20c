"""Strict JSON decoding, and the limits of speed, number and memory of bodies."""

from __future__ import annotations

import asyncio
import json
from contextlib import AsyncExitStack, suppress
from typing import Any

import pytest
from fastapi import Request
from hypothesis import given
from hypothesis import strategies as st
from starlette.exceptions import HTTPException

from esteira.web.intake import strict_json, unverified_bodies
from esteira.web.intake.bodies import BodyReader, Terms
from esteira.web.intake.strict_json import MAX_DEPTH, decode
from pipeline.config.settings import load_settings
from pipeline.errors import Code, PayloadError, RetryableError

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


def request_with(body: bytes, address: str = "192.0.2.1") -> Request:
    """A request whose body arrives in pieces."""
    pieces = [body[at : at + 10_000] for at in range(0, len(body), 10_000)]
    messages = iter([{"type": "http.request", "body": piece, "more_body": True} for piece in pieces])

    async def receive() -> Any:
        return next(messages, {"type": "http.request", "body": b"", "more_body": False})

    return Request({"type": "http", "method": "POST", "headers": [], "client": (address, 1)}, receive)


HOOK, SIGNED = Terms("media"), Terms("waha", verified=False)
LARGE = b"x" * 3_000_000
SMALL = b"y" * 900_000


@pytest.fixture
def bodies(monkeypatch: pytest.MonkeyPatch) -> BodyReader:
    """Memory for eight large bodies, six of which one gateway may have, and for small ones."""
    monkeypatch.setattr("esteira.web.intake.bodies.MIN_MEMORY", 0)
    monkeypatch.setattr("esteira.web.intake.bodies.SMALL_MEMORY", 16_000_000)
    return BodyReader(load_settings(_env_file=None, max_body_mb=3))


async def read_all(stack: AsyncExitStack, bodies: BodyReader, body: bytes, terms: Terms, *, senders: int) -> None:
    """Reads and holds the same body from so many addresses."""
    for number in range(senders):
        request = request_with(body, address=f"192.0.2.{number}")
        assert await stack.enter_async_context(bodies.read_body(request, terms)) == body


async def refuses(bodies: BodyReader, body: bytes, terms: Terms, address: str = "192.0.2.99") -> bool:
    try:
        async with bodies.read_body(request_with(body, address=address), terms):
            return False
    except RetryableError as error:
        return error.code == Code.TOO_MANY_REQUESTS


def test_small_bodies_have_memory_that_large_ones_cannot_use(bodies: BodyReader) -> None:
    async def read_many() -> None:
        async with AsyncExitStack() as stack:
            await read_all(stack, bodies, LARGE, HOOK, senders=5)
            await read_all(stack, bodies, LARGE, Terms("wppconnect"), senders=3)
            assert await refuses(bodies, LARGE, Terms("wppconnect"))
            assert not await refuses(bodies, SMALL, HOOK)
            assert not await refuses(bodies, SMALL, Terms("wppconnect"))
        assert not await refuses(bodies, LARGE, HOOK)

    asyncio.run(read_many())


def test_one_gateway_leaves_memory_for_others(bodies: BodyReader) -> None:
    async def read_many() -> None:
        async with AsyncExitStack() as stack:
            await read_all(stack, bodies, LARGE, HOOK, senders=6)
            assert await refuses(bodies, LARGE, HOOK)
            assert not await refuses(bodies, LARGE, Terms("wppconnect"))

    asyncio.run(read_many())


def test_unverified_bodies_use_no_memory_of_verified_ones(bodies: BodyReader) -> None:
    async def read_many() -> None:
        async with AsyncExitStack() as stack:
            await read_all(stack, bodies, LARGE, SIGNED, senders=1)
            assert await refuses(bodies, LARGE, SIGNED)
            await read_all(stack, bodies, LARGE, HOOK, senders=6)
            await read_all(stack, bodies, SMALL, HOOK, senders=4)

    asyncio.run(read_many())


def stalled_request(address: str, *, sent: int = 10) -> Request:
    """A request whose body stops after these bytes."""
    pieces = iter([{"type": "http.request", "body": b"x" * sent, "more_body": True}])

    async def receive() -> Any:
        return next(pieces, None) or await asyncio.sleep(60)

    return Request({"type": "http", "method": "POST", "headers": [], "client": (address, 1)}, receive)


async def stalled(bodies: BodyReader, address: str, *, sent: int = 10) -> asyncio.Task[None]:
    async def read() -> None:
        async with bodies.read_body(stalled_request(address, sent=sent), SIGNED):
            pass

    task = asyncio.create_task(read())
    await asyncio.sleep(0)
    return task


@pytest.mark.parametrize("of_one_address", [True, False])
def test_slowest_unverified_body_makes_room(
    bodies: BodyReader, of_one_address: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(unverified_bodies, "YOUNG_S", 0.1)
    monkeypatch.setattr(unverified_bodies, "MAX_PER_USER", 4)
    monkeypatch.setattr(unverified_bodies, "MAX_BODIES", 4)

    async def read_many() -> None:
        tasks = [
            await stalled(bodies, "192.0.2.1" if of_one_address else f"192.0.2.{number}", sent=100 - 20 * number)
            for number in range(4)
        ]
        assert await refuses(bodies, b"{}", SIGNED, "192.0.2.1")  # all are young
        await asyncio.sleep(0.15)
        assert not await refuses(bodies, b"{}", SIGNED, "192.0.2.1")
        with pytest.raises(RetryableError, match="too_many_requests"):
            await asyncio.wait_for(tasks[3], 2)
        assert [task.done() for task in tasks] == [False, False, False, True]
        for task in tasks[:3]:
            task.cancel()

    asyncio.run(read_many())


def test_slow_body_is_refused_after_the_grace(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("esteira.web.intake.bodies.GRACE_S", 0.1)
    bodies = BodyReader(load_settings(_env_file=None))

    async def read() -> None:
        async with bodies.read_body(stalled_request("192.0.2.1"), HOOK):
            pass

    with pytest.raises(HTTPException, match="too slowly: 10 bytes") as error:
        asyncio.run(asyncio.wait_for(read(), 2))
    assert error.value.status_code == 408


def test_body_at_the_least_speed_is_read(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("esteira.web.intake.bodies.GRACE_S", 0.2)
    monkeypatch.setattr("esteira.web.intake.bodies.MIN_BYTES_PER_S", 100)
    bodies = BodyReader(load_settings(_env_file=None))
    more = iter([True] * 7 + [False])

    async def receive() -> Any:
        await asyncio.sleep(0.1)
        return {"type": "http.request", "body": b"x" * 20, "more_body": next(more)}

    async def read() -> int:
        request = Request({"type": "http", "method": "POST", "headers": []}, receive)
        async with bodies.read_body(request, HOOK) as body:
            return len(body)

    assert asyncio.run(read()) == 160


@pytest.mark.parametrize("bomb", [b"{}", b"[]", b"1", b'""', b"{},[[1]]"])
def test_decode_refuses_too_many_values_before_it_makes_them(bomb: bytes, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(strict_json.json, "loads", lambda *_, **__: pytest.fail("decoded"))
    with pytest.raises(PayloadError, match="commas and brackets"):
        decode(b"[" + (bomb + b",") * 300_000 + bomb + b"]")


def test_decode_refuses_numbers_with_very_many_digits() -> None:
    assert decode(b'{"id":-' + b"9" * 99 + b"}") == {"id": -int("9" * 99)}
    with pytest.raises(PayloadError, match="not JSON"):
        decode(b'{"id":' + b"9" * 101 + b"}")


def test_decode_accepts_a_batch_and_a_large_file() -> None:
    batch = [{f"field {number}": ["a, b [c]"] for number in range(60)} for _ in range(1000)]
    assert decode(json.dumps(batch).encode()) == batch
    assert decode(json.dumps({"data": "A" * 10_000_000}).encode())["data"] == "A" * 10_000_000


@pytest.mark.parametrize("separators", [(",", ":"), (", ", ": ")])
def test_thumbnails_as_numbered_bytes_do_not_count(separators: tuple[str, str]) -> None:
    numbered = {str(number): number % 256 for number in range(2000)}
    forms = [numbered, {"type": "Buffer", "data": [*numbered.values()]}, [*numbered.values()]]
    text = 'jpegThumbnail":{"0":1}, and "jpegThumbnail":[1,2]'
    messages = [{"text": text, "imageMessage": {"jpegThumbnail": form, "mediaKey": [1, 2]}} for form in forms * 100]
    decoded = decode(json.dumps(messages, separators=separators).encode())
    assert len(decoded) == 300
    assert {json.dumps(message) for message in decoded} == {
        json.dumps({"text": text, "imageMessage": {"jpegThumbnail": None, "mediaKey": [1, 2]}})
    }
    small = json.dumps(messages[:2], separators=separators).encode()
    assert decode(small) == messages[:2]


def test_other_numbered_bytes_count() -> None:
    numbered = {str(number): number % 256 for number in range(2000)}
    with pytest.raises(PayloadError, match="commas and brackets"):
        decode(json.dumps([{"jpegThumbnails": numbered}] * 200).encode())
    with pytest.raises(PayloadError, match="commas and brackets"):
        decode(b'{"jpegThumbnail":[' + b"1," * 300_000)
