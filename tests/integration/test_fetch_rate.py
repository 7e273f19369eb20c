"""FETCH_RATE with real workers: all processes together keep the rate of one host, other hosts are not slowed."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator

import pytest

from pipeline.models import Status
from tests.support.media_server import Answer, MediaServer, Request
from tests.support.system import RunningSystem, photo

RATE = 10


class TimedServer(MediaServer):
    """Notes when it was asked for what."""

    def __init__(self, address: str) -> None:
        super().__init__({f"{number}.jpg": photo() for number in range(8)}, address=address)
        self.asked_at: list[float] = []

    def reply(self, request: Request, name: str) -> Answer | None:
        self.asked_at.append(time.monotonic())
        return super().reply(request, name)


@pytest.fixture
def paced() -> Iterator[TimedServer]:
    with TimedServer("127.0.0.1") as server:
        yield server


@pytest.fixture
def other() -> Iterator[TimedServer]:
    with TimedServer("127.0.0.2") as server:
        yield server


def submit_all(system: RunningSystem, server: TimedServer, *, session: str = "s1", count: int) -> list[str]:
    return [system.submit(url=server.url(f"{number % 8}.jpg"), session=session).id for number in range(count)]


def test_host_rate_delays_only_its_host(
    make_system: Callable[..., RunningSystem], paced: TimedServer, other: TimedServer
) -> None:
    system = make_system(fetch_rate="127.0.0.1=120/m")
    slow = submit_all(system, paced, count=12)
    fast = submit_all(system, other, count=12)
    with system.workers(processes=2, threads=4) as workers:
        records = system.wait_finished(*slow, *fast, within_s=60)
        assert {record.status for record in records} == {Status.DONE}
        assert all(record.attempts == 0 for record in records)
        assert not workers.logged("attempt failed")
    assert (len(paced.asked_at), len(other.asked_at)) == (12, 12)
    assert paced.asked_at[-1] - paced.asked_at[0] >= 11 / 2 - 1.5  # the first may have been held up
    assert sum(at < other.asked_at[-1] for at in paced.asked_at) < 10
    assert system.queue.client.exists(system.queue.keys.in_flight, system.queue.keys.session_marks) == 0


def test_session_gets_its_share_of_a_busy_host(make_system: Callable[..., RunningSystem], paced: TimedServer) -> None:
    system = make_system(fetch_rate=f"127.0.0.1={RATE}/s")
    busy = submit_all(system, paced, session="busy", count=150)
    with system.workers(processes=2, threads=4):
        system.wait_finished(*busy[:5])
        quiet = submit_all(system, paced, session="quiet", count=5)
        system.wait_finished(*quiet)
        still = sum(not system.record(media_id).finished_at for media_id in busy)
    assert still > 20  # first come, first served would leave none


def test_redirect_counts_for_its_target_host(
    make_system: Callable[..., RunningSystem], paced: TimedServer, other: TimedServer
) -> None:
    system = make_system(fetch_rate=f"127.0.0.1={RATE}/s")
    other.answers["0.jpg"] = Answer(302, {"Location": paced.url("0.jpg")})
    with system.workers():
        ids = [system.submit(url=other.url("0.jpg")).id for _ in range(20)]
        assert {record.status for record in system.wait_finished(*ids)} == {Status.DONE}
    assert len(paced.asked_at) == 20
    assert paced.asked_at[-1] - paced.asked_at[0] >= 19 / RATE - 1.5
