"""Requests to a running `esteira start`."""

from __future__ import annotations

import errno
import socket
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pytest

from esteira.cli.supervisor import requests
from esteira.cli.supervisor.requests import RELOAD, Request, connect, taken_requests
from tests.support.waiting import wait_until


@pytest.fixture(params=["short", "x" * 200])
def folder(request: pytest.FixtureRequest, tmp_path: Path) -> Path:
    """A folder whose path leaves room for a socket's, and one whose does not."""
    made = tmp_path / request.param
    made.mkdir()
    return made


@pytest.fixture
def taken(folder: Path) -> Iterator[list[Request]]:
    made: list[Request] = []
    (folder / "start.sock").touch()  # as one that was killed leaves it
    with taken_requests(folder, made.append):
        yield made
    assert not (folder / "start.sock").exists()


def test_answer_arrives_line_by_line(folder: Path, taken: list[Request]) -> None:
    with connect(folder) as connection:
        connection.sendall(RELOAD)
        wait_until(lambda: taken)
        taken[0].tell("half\nway")
        taken[0].finish("no\r\nspace")
        assert connection.makefile().read() == ". half way\n- no space\n"
    with connect(folder) as connection:
        connection.sendall(RELOAD)
        wait_until(lambda: len(taken) == 2)
        taken[1].finish()
        assert connection.makefile().read() == "+ \n"


@pytest.mark.parametrize("asked", [b"", b"stop\n", b"x" * 10_000])
def test_what_is_no_request_is_dropped(folder: Path, taken: list[Request], asked: bytes) -> None:
    with connect(folder) as connection:
        connection.sendall(asked)
        connection.shutdown(socket.SHUT_WR)
        with suppress(ConnectionResetError):  # more was sent than was read
            assert connection.recv(10) == b""
    assert not taken


def test_command_that_is_killed_disturbs_nothing(folder: Path, taken: list[Request]) -> None:
    with connect(folder) as connection:
        connection.sendall(RELOAD)
    wait_until(lambda: taken)
    for _ in range(3):
        taken[0].tell("still at work")
    taken[0].finish()


def test_nobody_answers_in_other_folders(tmp_path: Path) -> None:
    for folder in (tmp_path, tmp_path / "missing"):
        with pytest.raises(FileNotFoundError):
            connect(folder)


def test_lack_of_descriptors_delays_a_command(
    folder: Path, taken: list[Request], monkeypatch: pytest.MonkeyPatch
) -> None:
    accept, failures = socket.socket.accept, [OSError(errno.EMFILE, "Too many open files")] * 2

    def accept_later(listener: socket.socket) -> object:
        accepted = accept(listener)
        if failures:
            accepted[0].close()
            raise failures.pop()
        return accepted

    monkeypatch.setattr(socket.socket, "accept", accept_later)
    monkeypatch.setattr(requests, "PAUSE_S", 0.01)

    def asks_with_success() -> bool:
        with connect(folder) as connection, suppress(OSError):
            connection.sendall(RELOAD)
        return bool(taken)

    wait_until(asks_with_success)
