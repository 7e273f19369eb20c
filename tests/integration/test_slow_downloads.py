"""Slow media servers of one session, with real workers: the files of other sessions do not wait for them."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from pipeline.models import Status
from tests.support.hostile_server import HostileServer, Script, drips, head, stalls
from tests.support.media_server import MediaServer
from tests.support.system import RunningSystem, photo
from tests.support.waiting import wait_until

CHUNKED = head("Transfer-Encoding: chunked")
MakeSystem = Callable[..., RunningSystem]


@pytest.mark.parametrize(
    "script",
    [
        pytest.param(stalls(), id="no-answer"),
        pytest.param(drips(head()[:-2], b"A: b\r\n", every_s=0.2), id="slow-head"),
        pytest.param(drips(head("Content-Length: 99999"), b"x", every_s=0.2), id="slow-body"),
        pytest.param(drips(CHUNKED, b"1;" + b"x" * 9000 + b"\r\nx\r\n", every_s=2), id="chunk-extensions"),
    ],
)
@pytest.mark.parametrize("declared", [{"kind": "image", "size": 700}, {"kind": "document"}])
def test_slow_files_of_one_session_do_not_stop_other_sessions(
    script: Script, declared: dict[str, object], system: RunningSystem
) -> None:
    with HostileServer(script) as slow, MediaServer({"a.jpg": photo()}) as quick, system.workers(threads=4):
        slow_ids = [system.submit(session="slow", url=f"{slow.url()}?{n}", **declared).id for n in range(12)]
        wait_until(lambda: slow.connections > 0, 20)
        ids = [system.submit(session=f"s{n}", url=quick.url("a.jpg"), kind="image").id for n in range(6)]
        records = system.wait_finished(*ids, within_s=10)  # less than FETCH_READ_TIMEOUT_S
        assert {record.status for record in records} == {Status.DONE}
        assert slow.connections <= 3
        assert {system.record(media_id).status for media_id in slow_ids} == {Status.RECEIVED}


def test_downloads_of_a_session_are_limited_across_processes(make_system: MakeSystem) -> None:
    system = make_system(FETCH_PER_SESSION="2")
    with HostileServer(stalls()) as slow, MediaServer({"a.jpg": photo()}) as quick:
        for number in range(8):
            system.submit(session="slow", url=f"{slow.url()}?{number}", kind="image")
        with system.workers(processes=2, threads=2):
            wait_until(lambda: slow.connections == 2, 20)
            ids = [system.submit(session="quick", url=quick.url("a.jpg"), kind="image").id for _ in range(6)]
            records = system.wait_finished(*ids, within_s=10)
            assert {record.status for record in records} == {Status.DONE}
            assert slow.connections == 2


def test_session_that_is_alone_is_worked_on_without_pauses(make_system: MakeSystem) -> None:
    """A session at its limit is fetched again as soon as one of its files has ended, not at the next poll."""
    system = make_system(FETCH_PER_SESSION="1")
    with MediaServer({"a.jpg": photo()}) as quick:
        ids = [system.submit(session="alone", url=f"{quick.url('a.jpg')}?{n}", kind="image").id for n in range(40)]
        with system.workers(threads=4):
            records = system.wait_finished(*ids, within_s=25)  # 40 s with one file for each poll
    assert {record.status for record in records} == {Status.DONE}
