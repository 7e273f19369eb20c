"""SocketGuard and PacketFilter: which packets pass, and when a client is disconnected."""

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
def test_connects_and_pings_are_allowed(packet: str) -> None:
    assert is_allowed(packet)


@pytest.mark.parametrize("packet", BAD)
def test_other_packets_are_not_allowed(packet: object) -> None:
    assert not is_allowed(packet)


def guard_for(*said: dict[str, Any]) -> tuple[SocketGuard, list[Any]]:
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


def test_guard_drops_other_packets() -> None:
    async def scenario() -> Any:
        guard, _ = guard_for(text("garbage"), {"type": "websocket.receive", "bytes": b"\0" * 100}, text("3"))
        return await guard.receive()

    assert run(scenario) == text("3")


def test_guard_disconnects_a_client_with_too_many_packets(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(socket_guard, "MAX_PACKETS", 5)

    async def scenario() -> list[str]:
        guard, _ = guard_for(*[text("3")] * 10)
        return [(await guard.receive())["type"] for _ in range(7)]

    assert run(scenario) == ["websocket.receive"] * 5 + ["websocket.disconnect"] * 2


def test_shut_ends_waiting_calls() -> None:
    async def scenario() -> Any:
        async def never(*_: Any) -> Any:
            await asyncio.sleep(3600)

        guard = SocketGuard(never, never)
        heard, sent = asyncio.ensure_future(guard.receive()), asyncio.ensure_future(guard.send({}))
        await asyncio.sleep(0.01)
        guard.shut()
        with pytest.raises(TimeoutError):
            await sent
        with pytest.raises(ConnectionError):
            await guard.send({})
        return await heard

    assert run(scenario)["type"] == "websocket.disconnect"


def test_guard_disconnects_a_client_that_does_not_read(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(socket_guard, "SEND_TIMEOUT_S", 0.05)

    async def scenario() -> Any:
        async def never(*_: Any) -> Any:
            await asyncio.sleep(3600)

        guard = SocketGuard(never, never)
        with pytest.raises(TimeoutError):
            await guard.send({})
        return await guard.receive()

    assert run(scenario)["type"] == "websocket.disconnect"


def posted(*pieces: bytes) -> tuple[list[bytes], list[Any]]:
    """The bodies that reach the app, and the messages sent to the client."""
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


def test_filter_passes_only_allowed_packets_of_a_poll() -> None:
    assert posted(b'3\x1e42["a"]', b"\x1e40{}\x1e\xff\xff")[0] == [b"3\x1e40{}"]


def test_filter_refuses_a_long_poll_before_reading_all_of_it() -> None:
    bodies, answered = posted(*[b"3" * MAX_BYTES] * 50)
    assert (bodies, answered[0]["status"]) == ([], 413)


def test_filter_answers_503_without_room() -> None:
    answered: list[Any] = []

    async def send(message: Any) -> None:
        answered.append(message)

    async def nobody(*_: Any) -> None:
        raise AssertionError

    scope = {"type": "http", "method": "GET", "query_string": b"EIO=4", "headers": []}
    run(lambda: PacketFilter(nobody, lambda: False)(scope, nobody, send))
    assert (answered[0]["status"], dict(answered[0]["headers"])[b"retry-after"]) == (503, b"5")
