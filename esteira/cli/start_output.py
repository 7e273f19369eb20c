"""How `esteira start` writes: as text on a terminal, as lines of JSON elsewhere, unless LOG_FORMAT says otherwise."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from contextlib import suppress
from typing import TextIO
from urllib.parse import urlsplit

from actors.observability.logging import PREFIXED_LINES
from actors.redis_queue.address import redis_address
from esteira.cli.output import print_message
from esteira.cli.supervisor.line_printer import LinePrinter
from esteira.cli.supervisor.part_lines import LineFormat, json_line, json_lines, text_line
from pipeline.config.settings import Settings, uses_token_file
from pipeline.config.token_file import token_path
from pipeline.extras import is_installed
from pipeline.scrubber import hide_secrets

START = "start"  # the name of `esteira start` itself in the field `part`
TITLE_WIDTH = 11  # characters of the first word of a message


def writes_json(settings: Settings, stream: TextIO) -> bool:
    """Whether the lines on this stream are JSON."""
    return settings.log_format == "json" or (settings.log_format == "auto" and not stream.isatty())


def line_format(settings: Settings) -> LineFormat:
    """The format of the lines of the parts on stdout."""
    return json_lines(hide_secrets(settings.secrets())) if writes_json(settings, sys.stdout) else text_line


def part_environment(settings: Settings) -> dict[str, str]:
    """The environment of the parts, which write into a pipe and cannot see the terminal."""
    if writes_json(settings, sys.stdout):
        return {**os.environ, "LOG_FORMAT": "json"}
    return {**os.environ, "LOG_FORMAT": "console", PREFIXED_LINES: "colour" if sys.stdout.isatty() else "plain"}


def announce(settings: Settings, name: str, value: str) -> None:
    """Prints a message on stderr: what it is about, and the value."""
    is_json = writes_json(settings, sys.stderr)
    _print_if_open(json_line(START, name, value=value) if is_json else f"{name:<{TITLE_WIDTH}}{value}")


def sayer(settings: Settings, printer: LinePrinter) -> Callable[[str, str], None]:
    """A function that prints a sentence of `esteira start` itself, with its level, among the lines of the parts."""

    def say(text: str, level: str) -> None:
        printer.print(START, json_line(START, text, level=level) if writes_json(settings, sys.stdout) else text)

    return say


def announce_addresses(settings: Settings, *, with_web: bool) -> None:
    """Prints where everything is, when all parts have started. A token is never printed, only the file that has it."""
    database = urlsplit(settings.database)
    location = database.path.removeprefix("/") if database.scheme == "sqlite" else str(database.hostname)
    announce(settings, "queue", f"{redis_address(settings)}{' (embedded)' if settings.embedded else ''}")
    announce(settings, "database", location)
    announce(settings, "storage", str(settings.storage))
    if with_web:
        accepted = "/hooks/media and the API accept only tokens of users"
        closed = "" if settings.api_token else f" (API_TOKEN is not set: {accepted})"
        announce(settings, "web", f"http://{settings.web_host}:{settings.port}{closed}")
        if settings.has_dashboard and settings.api_token and is_installed("dashboard"):
            announce(settings, "dashboard", f"http://{settings.web_host}:{settings.port}/")
        if uses_token_file(settings):
            announce(settings, "token", f"log in with the API_TOKEN in {token_path(settings.var_dir)}")
    stop = "Press Ctrl-C to stop."
    _print_if_open(json_line(START, stop) if writes_json(settings, sys.stderr) else stop)


def _print_if_open(message: str) -> None:
    """Prints a message on stderr. One that takes no line (`2>&1 | head`, a full disk) does not end the parts."""
    with suppress(OSError):
        print_message(message)
