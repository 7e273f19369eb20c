"""What a process tells its service manager."""

from __future__ import annotations

import os
import socket
import time
from contextlib import suppress
from pathlib import Path

import pytest

from esteira.cli.supervisor.readiness import Readiness
from pipeline.service_manager.notify import NOTIFY_SOCKET, READY, STOPPING, ServiceManager, reloading


def receiver(address: str) -> socket.socket:
    listener = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
    listener.bind(address)
    listener.settimeout(5)
    return listener


def test_states_arrive_at_a_path_and_at_an_abstract_name(tmp_path: Path) -> None:
    path, name = str(tmp_path / "notify"), f"esteira-test-{os.getpid()}"
    for address, bound in ((path, path), (f"@{name}", f"\0{name}")):
        with receiver(bound) as manager:
            ServiceManager(address).tell(READY, "STATUS=here")
            assert manager.recv(100) == b"READY=1\nSTATUS=here"


def test_variable_is_not_passed_to_child_processes(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv(NOTIFY_SOCKET, str(tmp_path / "notify"))
    manager = ServiceManager.of_environment()
    assert NOTIFY_SOCKET not in os.environ
    with receiver(str(tmp_path / "notify")) as listener:
        manager.tell(STOPPING)
        assert listener.recv(100) == b"STOPPING=1"


@pytest.mark.parametrize("address", ["", "vsock:2:1", "relative", "/nowhere/notify", "/" + "x" * 200])
def test_manager_that_is_not_there_changes_nothing(address: str) -> None:
    ServiceManager(address).tell(READY)


def test_manager_that_takes_nothing_is_given_up(tmp_path: Path) -> None:
    path = str(tmp_path / "notify")
    with receiver(path), socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as flood:
        flood.setblocking(False)
        flood.connect(path)
        with suppress(BlockingIOError):
            while True:
                flood.send(b"x")
        ServiceManager(path).tell(READY)


def test_reload_has_the_time_that_systemd_compares() -> None:
    state, at = reloading()
    assert state == "RELOADING=1"
    assert (
        abs(int(at.removeprefix("MONOTONIC_USEC=")) - time.clock_gettime_ns(time.CLOCK_MONOTONIC) // 1000) < 60_000_000
    )


def test_part_is_ready_when_it_has_said_so() -> None:
    readiness = Readiness()
    part = ServiceManager(readiness.environment[NOTIFY_SOCKET])
    assert not readiness.has_been_said()
    part.tell(STOPPING)
    part.tell("STATUS=READY=1")
    assert not readiness.has_been_said()
    part.tell("STATUS=almost", READY)
    assert readiness.has_been_said()
    assert readiness.has_been_said()
    part.tell(STOPPING)  # nobody listens any more


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can become another user")
def test_other_users_cannot_say_that_a_part_is_ready() -> None:
    readiness = Readiness()
    child = os.fork()
    if not child:
        os.setuid(65534)
        ServiceManager(readiness.environment[NOTIFY_SOCKET]).tell(READY)
        os._exit(0)
    os.waitpid(child, 0)
    assert not readiness.has_been_said()
    readiness.close()
