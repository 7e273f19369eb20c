"""Our own log lines as JSON. A line is written for every file, so all of it is made in one go."""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Callable, Iterable, MutableMapping
from functools import lru_cache
from typing import Any

import structlog
from pydantic_core import to_json

from pipeline.values.timestamps import iso_microseconds

# Where none of these stands, nothing has to be hidden in text, nor escaped beyond what JSON asks for.
PLACES = ("://", "/hooks/", "\x7f")

Scrub = Callable[[Any], Any]


class JsonLine:
    """The last processor of structlog, and the only one: an event as a line of JSON in plain ASCII.

    `scrub` hides what must not be seen, and takes its time; a line that cannot hold any such thing is spared it. What
    tells is the finished text, whatever its values were: a sign of a URL or of a known secret, more than one level, or
    a name that `is_telling`.
    """

    def __init__(self, scrub: Scrub, *, secrets: Iterable[str], is_telling: Callable[[str], bool]) -> None:
        self._scrub = scrub
        self._signs = (*PLACES, *(text for secret in secrets if (text := _json(secret)[1:-1])))

        @lru_cache(maxsize=1000)
        def has_telling(names: tuple[str, ...]) -> bool:
            return any(is_telling(name) for name in names)

        self._has_telling = has_telling

    def __call__(self, logger: Any, level: str, event: MutableMapping[str, Any]) -> str:
        event["level"] = level
        event["timestamp"] = iso_microseconds(time.time_ns() // 1000)
        if "exc_info" in event:
            event = structlog.processors.format_exc_info(logger, level, event)
        line = _json(event)
        if self._is_harmless(line) and not self._has_telling(tuple(event)):
            return line
        return json.dumps(self._scrub(event), default=self._shown)

    def _is_harmless(self, line: str) -> bool:
        if not line or not line.isascii() or line.find("{", 1) > 0:
            return False
        for sign in self._signs:  # noqa: SIM110  (a generator would take as long as all the rest)
            if sign in line:
                return False
        return True

    def _shown(self, value: object) -> Any:
        return self._scrub(repr(value))


def _json(value: object) -> str:
    """Nothing for what has no form in JSON or in UTF-8."""
    try:
        return to_json(value, fallback=repr, inf_nan_mode="constants").decode()
    except ValueError:
        return ""


class Stderr:
    """Writes lines to what sys.stderr is now: Dramatiq's workers replace it by a pipe to their master."""

    def msg(self, line: str) -> None:
        """Writes it with one call. A full disk costs the line and not the work."""
        stream = sys.stderr
        try:  # suppress() would cost as much as the write
            stream.write(line + "\n")
            stream.flush()
        except OSError:
            pass

    debug = info = warning = error = critical = msg
