"""The transport limits unread answers, and ends connections that are gone."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from esteira.web.server import transport
from esteira.web.server.transport import WatchedTransport

LIMIT = 1_000_000


class UnreadTransport(asyncio.Transport):
    """A transport whose peer reads nothing."""

    def __init__(self) -> None:
        super().__init__()
        self.size = 0
        self.aborted = False

    def write(self, data: Any) -> None:
        self.size += len(data)

    def get_write_buffer_size(self) -> int:
        return self.size

    def is_closing(self) -> bool:
        return self.aborted

    def can_write_eof(self) -> bool:
        return True

    def write_eof(self) -> None:
        raise OSError("Transport endpoint is not connected")

    def abort(self) -> None:
        self.size, self.aborted = 0, True


@pytest.fixture
def unread(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(transport, "MAX_UNREAD_BYTES", LIMIT)


def watched() -> tuple[UnreadTransport, WatchedTransport]:
    inner = UnreadTransport()
    loop = asyncio.get_running_loop()
    return inner, WatchedTransport(inner, loop, stall_s=60, has_unread_body=lambda: False)


@pytest.mark.usefixtures("unread")
def test_largest_unread_answer_is_ended_first() -> None:
    async def run() -> list[bool]:
        pairs = [watched() for _ in range(3)]
        for (_, outer), size in zip(pairs, (100_000, 700_000, 300_000), strict=True):
            outer.write(bytes(size))
        ended = [inner.aborted for inner, _ in pairs]
        for _, outer in pairs:
            outer.release()
        return ended

    assert asyncio.run(run()) == [False, True, False]


@pytest.mark.usefixtures("unread")
def test_answers_that_fit_are_kept_and_read_ones_are_not_counted() -> None:
    async def run() -> list[bool]:
        pairs = [watched() for _ in range(20)]
        for inner, outer in pairs:
            outer.write(bytes(400_000))
            if inner is not pairs[0][0]:
                inner.size = 0  # its peer has read all
        ended = [inner.aborted for inner, _ in pairs]
        for _, outer in pairs:
            outer.release()
        return ended

    assert not any(asyncio.run(run()))


def test_refused_body_of_a_peer_that_is_gone_is_no_error() -> None:
    async def run() -> bool:
        inner = UnreadTransport()
        outer = WatchedTransport(inner, asyncio.get_running_loop(), stall_s=60, has_unread_body=lambda: True)
        outer.close()
        return inner.aborted and not outer.is_lingering

    assert asyncio.run(run())
