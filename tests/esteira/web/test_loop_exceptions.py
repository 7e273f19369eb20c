"""A web app that can open no file says so, and not as often as asyncio would."""

from __future__ import annotations

import asyncio
import errno
from typing import Any

import pytest
import structlog
from structlog.testing import capture_logs

from esteira.web.server.loop_exceptions import LoopExceptionHandler

NO_FILES = {"message": "socket.accept() out of system resource", "exception": OSError(errno.EMFILE, "too many")}


def complaints(monkeypatch: pytest.MonkeyPatch, *contexts: dict[str, Any]) -> tuple[int, list[str]]:
    """How often it is logged, and what is left to asyncio."""
    monkeypatch.setattr(
        "esteira.web.server.loop_exceptions.log", structlog.get_logger()
    )  # one that has written nothing yet
    loop = asyncio.new_event_loop()
    left: list[str] = []
    monkeypatch.setattr(loop, "default_exception_handler", lambda context: left.append(context["message"]))
    loop.set_exception_handler(LoopExceptionHandler())
    try:
        with capture_logs() as logs:
            for context in contexts:
                loop.call_exception_handler(context)
    finally:
        loop.close()
    return len(logs), left


def test_a_want_of_files_is_told_once_for_a_thousand_connections(monkeypatch: pytest.MonkeyPatch) -> None:
    assert complaints(monkeypatch, *[NO_FILES] * 1000) == (1, [])


def test_what_else_goes_wrong_is_left_to_asyncio(monkeypatch: pytest.MonkeyPatch) -> None:
    other = {"message": "Task was destroyed but it is pending!"}
    assert complaints(monkeypatch, NO_FILES, other, other) == (1, [other["message"]] * 2)
