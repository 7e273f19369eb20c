"""The health check of the image."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from threading import Thread

import pytest
import redis

from actors.operations import workers as operations
from esteira.container.health import arguments_of, problem
from tests.support.valkey import free_port


@pytest.mark.parametrize(
    ("words", "arguments"),
    [
        (["python", "-m", "esteira.container", "worker"], ["worker"]),
        (["/sbin/docker-init", "--", "python", "-m", "esteira.container", "start", "--no-web"], ["start", "--no-web"]),
        (["python", "-m", "esteira.container"], []),
        (["/bin/sh"], None),
    ],
)
def test_arguments_of_finds_those_of_the_entry_point(words: list[str], arguments: list[str] | None) -> None:
    assert arguments_of("\0".join([*words, ""]).encode()) == arguments


@pytest.fixture(params=[200, 503])
def status(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Iterator[int]:
    """The status with which a server at PORT answers /healthz."""

    class Answer(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(request.param if self.path == "/healthz" else 404)
            self.end_headers()

        def log_message(self, *_: object) -> None:
            pass

    server = HTTPServer(("127.0.0.1", 0), Answer)
    monkeypatch.setenv("PORT", str(server.server_port))
    Thread(target=server.serve_forever, daemon=True).start()
    yield int(request.param)
    server.shutdown()
    server.server_close()


@pytest.mark.parametrize("arguments", [[], ["start"], ["web"]])
def test_problem_of_a_web_app_is_its_answer(status: int, arguments: list[str]) -> None:
    assert problem(arguments) == (None if status == 200 else "the web app answers /healthz with 503")


def test_problem_names_a_web_app_that_does_not_listen(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PORT", str(free_port()))
    assert problem(["web"]) == "the web app does not answer: [Errno 111] Connection refused"


def _worker(host: str, *, alive: bool) -> operations.WorkerStatus:
    return operations.WorkerStatus.model_construct(host=host, alive=alive)


@pytest.mark.parametrize(
    ("found", "healthy"),
    [
        ([_worker(socket.gethostname(), alive=True), _worker(socket.gethostname(), alive=False)], True),
        ([_worker(socket.gethostname(), alive=False)], False),
        ([_worker("another container", alive=True)], False),
        ([], False),
    ],
)
@pytest.mark.parametrize("arguments", [["worker"], ["start", "--no-web"]])
def test_problem_of_workers_is_the_lack_of_a_report(
    arguments: list[str], found: list[operations.WorkerStatus], healthy: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(operations, "workers", lambda: found)
    assert problem(arguments) == (None if healthy else "no worker process of this container reports")


def test_problem_of_workers_is_not_the_absence_of_redis(monkeypatch: pytest.MonkeyPatch) -> None:
    def away() -> list[operations.WorkerStatus]:
        raise redis.ConnectionError("refused")

    monkeypatch.setattr(operations, "workers", away)
    assert problem(["worker"]) is None


def test_problem_of_other_commands_is_never_found() -> None:
    assert problem(["migrate"]) is None
