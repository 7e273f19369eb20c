"""The event loop's exception handler logs missing file descriptors once instead of a thousand times."""

from __future__ import annotations

import asyncio
import errno
from typing import Any

import pytest
import structlog
from structlog.testing import capture_logs

from esteira.web.server.loop_exceptions import LoopExceptionHandler

OUT_OF_FILES = {"message": "socket.accept() out of system resource", "exception": OSError(errno.EMFILE, "too many")}


def handle(monkeypatch: pytest.MonkeyPatch, *contexts: dict[str, Any]) -> tuple[int, list[str]]:
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


def test_missing_file_descriptors_are_logged_once(monkeypatch: pytest.MonkeyPatch) -> None:
    assert handle(monkeypatch, *[OUT_OF_FILES] * 1000) == (1, [])


def test_other_errors_are_left_to_asyncio(monkeypatch: pytest.MonkeyPatch) -> None:
    other = {"message": "Task was destroyed but it is pending!"}
    assert handle(monkeypatch, OUT_OF_FILES, other, other) == (1, [other["message"]] * 2)
