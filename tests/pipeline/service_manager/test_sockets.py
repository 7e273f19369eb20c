"""Sockets that the starter of a process passes to it."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

TAKE = """
import os, socket, sys
from pipeline.errors import SettingsError
from pipeline.service_manager.sockets import inherited_sockets
try:
    sockets = inherited_sockets()
except SettingsError as error:
    sys.exit(error.message)
for taken in sockets:
    print(taken.family.name, taken.fileno(), os.get_inheritable(taken.fileno()))
print(sorted(name for name in os.environ if name.startswith("LISTEN")))
"""


# Renumbers in a process of its own: the descriptors 3, 4, … of the process of the tests belong to others.
PASS = """
import fcntl, os, sys
program, *descriptors = sys.argv[1:]
first_free = 3 + len(descriptors)
copies = [fcntl.fcntl(int(each), fcntl.F_DUPFD_CLOEXEC, first_free) for each in descriptors]
for each in descriptors:
    os.close(int(each))
for index, copy in enumerate(copies):
    os.dup2(copy, 3 + index)
if os.environ["LISTEN_PID"] == "own":
    os.environ["LISTEN_PID"] = str(os.getpid())
os.execv(sys.executable, [sys.executable, "-c", program])
"""


def listening(family: socket.AddressFamily, address: object) -> socket.socket:
    listener = socket.socket(family, socket.SOCK_STREAM)
    listener.bind(address)  # type: ignore[arg-type]
    listener.listen()
    return listener


def run(
    *passed: socket.socket, pid: str | None = None, count: str | None = None, names: str = ""
) -> subprocess.CompletedProcess[str]:
    """Runs TAKE with these sockets from descriptor 3 on. `pid`: LISTEN_PID instead of the process's own."""
    descriptors = [each.fileno() for each in passed]
    listen = {"LISTEN_FDS": str(len(passed)) if count is None else count, "LISTEN_FDNAMES": names}
    return subprocess.run(
        [sys.executable, "-c", PASS, TAKE, *map(str, descriptors)],
        env={**os.environ, **listen, "LISTEN_PID": "own" if pid is None else pid},
        pass_fds=descriptors,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


def test_sockets_of_all_families_are_taken_and_not_passed_on(tmp_path: Path) -> None:
    with (
        listening(socket.AF_INET, ("127.0.0.1", 0)) as v4,
        listening(socket.AF_INET6, ("::1", 0)) as v6,
        listening(socket.AF_UNIX, str(tmp_path / "s")) as unix,
    ):
        finished = run(v4, v6, unix)
    assert finished.stdout.splitlines() == ["AF_INET 3 False", "AF_INET6 4 False", "AF_UNIX 5 False", "[]"]


@pytest.mark.parametrize("pid", ["1", "", "x"])
def test_sockets_for_another_process_are_left_alone(pid: str) -> None:
    with listening(socket.AF_INET, ("127.0.0.1", 0)) as listener:
        finished = run(listener, pid=pid)
    assert (finished.returncode, finished.stdout) == (0, "[]\n")


@pytest.mark.parametrize(
    ("make", "complaint"),
    [
        (lambda: socket.socket(socket.AF_INET, socket.SOCK_DGRAM), "is no stream socket (AF_INET, SOCK_DGRAM)"),
        (lambda: socket.socket(socket.AF_INET, socket.SOCK_STREAM), "is a socket that does not listen"),
        (lambda: socket.socketpair()[0], "is a socket that does not listen"),
    ],
    ids=["datagrams", "not listening", "a connection"],
)
def test_other_sockets_are_refused_by_name(make: Callable[[], socket.socket], complaint: str) -> None:
    with make() as other:
        finished = run(other, names="web")
    assert finished.returncode == 1
    assert f"LISTEN_FDS: the inherited descriptor 3 ('web') {complaint}" in finished.stderr
    assert "ListenStream= and Accept=no" in finished.stderr


@pytest.mark.parametrize(
    ("count", "complaint"),
    [("1", "is no socket"), ("-1", "'-1' is no number"), ("x", "'x' is no number"), ("101", "'101' is no number")],
)
def test_wrong_number_of_sockets_is_refused(count: str, complaint: str) -> None:
    finished = run(count=count)
    assert finished.returncode == 1
    assert complaint in finished.stderr
    assert "Traceback" not in finished.stderr
