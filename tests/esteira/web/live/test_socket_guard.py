"""What a socket's client may say, and what becomes of it when it says more."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

import pytest

from esteira.web.live import socket_guard
from esteira.web.live.socket_guard import MAX_BYTES, PacketFilter, SocketGuard, is_allowed

GOOD = ["3", "1", "5", "2probe", '40{"token":"x"}', "40", '40/other,{"token":"x"}', "41", "41/other,"]
BAD = [
    '42["join","session:b"]', '42/x,["a"]', '43["ack"]', '420["a",1]', '451-["a",{"_placeholder":true,"num":0}]', "44",
    '40{"token"', "40[1]", "4", "6", "7", "", "0{}", "bAAAA", "40{}" + " " * MAX_BYTES, "40" + '{"a":' * 3000, "٣",
    "3 ", "40/" + "n" * 200 + ",{}", '40{"a":NaN', b"3", None,
]  # fmt: skip


@pytest.mark.parametrize("packet", GOOD)
def test_who_it_is_and_that_it_lives_may_be_said(packet: str) -> None:
    assert is_allowed(packet)


@pytest.mark.parametrize("packet", BAD)
def test_nothing_else_may(packet: object) -> None:
    assert not is_allowed(packet)


def door(*said: dict[str, Any]) -> tuple[SocketGuard, list[Any]]:
    """A door through which these come, one after the other, and then nothing; and what went out through it."""
    coming = list(said)
    gone: list[Any] = []

    async def receive() -> Any:
        if not coming:
            await asyncio.sleep(3600)
        return coming.pop(0)

    async def send(message: Any) -> None:
        gone.append(message)

    return SocketGuard(receive, send), gone


def text(said: str) -> dict[str, Any]:
    return {"type": "websocket.receive", "text": said}


def run(what: Callable[[], Awaitable[Any]]) -> Any:
    async def within() -> Any:
        async with asyncio.timeout(20):
            return await what()

    return asyncio.run(within())


def test_garbage_is_dropped_and_what_follows_is_heard() -> None:
    async def through() -> Any:
        one, _ = door(text("garbage"), {"type": "websocket.receive", "bytes": b"\0" * 100}, text("3"))
        return await one.receive()

    assert run(through) == text("3")


def test_who_says_too_much_is_gone(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(socket_guard, "MAX_PACKETS", 5)

    async def through() -> list[str]:
        one, _ = door(*[text("3")] * 10)
        return [(await one.receive())["type"] for _ in range(7)]

    assert run(through) == ["websocket.receive"] * 5 + ["websocket.disconnect"] * 2


def test_shutting_ends_a_wait_on_either_side() -> None:
    async def through() -> Any:
        async def never(*_: Any) -> Any:
            await asyncio.sleep(3600)

        one = SocketGuard(never, never)
        heard, sent = asyncio.ensure_future(one.receive()), asyncio.ensure_future(one.send({}))
        await asyncio.sleep(0.01)
        one.shut()
        with pytest.raises(TimeoutError):
            await sent
        with pytest.raises(ConnectionError):
            await one.send({})
        return await heard

    assert run(through)["type"] == "websocket.disconnect"


def test_who_does_not_read_is_gone(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(socket_guard, "SEND_TIMEOUT_S", 0.05)

    async def through() -> Any:
        async def never(*_: Any) -> Any:
            await asyncio.sleep(3600)

        one = SocketGuard(never, never)
        with pytest.raises(TimeoutError):
            await one.send({})
        return await one.receive()

    assert run(through)["type"] == "websocket.disconnect"


def posted(*pieces: bytes) -> tuple[list[bytes], list[Any]]:
    """What of a poll's body gets through, and what is answered."""
    coming = list(pieces)
    bodies: list[bytes] = []
    answered: list[Any] = []

    async def app(scope: Any, receive: Any, send: Any) -> None:
        message = await receive()
        assert dict(scope["headers"])[b"content-length"] == str(len(message["body"])).encode()
        bodies.append(message["body"])

    async def receive() -> Any:
        piece = coming.pop(0)
        return {"type": "http.request", "body": piece, "more_body": bool(coming)}

    async def send(message: Any) -> None:
        answered.append(message)

    scope = {"type": "http", "method": "POST", "query_string": b"sid=1", "headers": [(b"content-length", b"99")]}
    run(lambda: PacketFilter(app, lambda: True)(scope, receive, send))
    return bodies, answered


def test_of_a_poll_only_what_may_be_said_gets_through() -> None:
    assert posted(b'3\x1e42["a"]', b"\x1e40{}\x1e\xff\xff")[0] == [b"3\x1e40{}"]


def test_a_poll_that_is_too_long_is_refused_before_it_is_read_to_its_end() -> None:
    bodies, answered = posted(*[b"3" * MAX_BYTES] * 50)
    assert (bodies, answered[0]["status"]) == ([], 413)


def test_who_finds_no_room_is_told_to_come_again() -> None:
    answered: list[Any] = []

    async def send(message: Any) -> None:
        answered.append(message)

    async def nobody(*_: Any) -> None:
        raise AssertionError

    scope = {"type": "http", "method": "GET", "query_string": b"EIO=4", "headers": []}
    run(lambda: PacketFilter(nobody, lambda: False)(scope, nobody, send))
    assert (answered[0]["status"], dict(answered[0]["headers"])[b"retry-after"]) == (503, b"5")
