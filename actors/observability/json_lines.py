"""Log lines as JSON on standard error."""

from __future__ import annotations

import json
import re
import sys
from collections.abc import MutableMapping
from typing import Any

import orjson

from pipeline.scrubber import Scrub

NOT_PRINTABLE = re.compile(r"[^ -~]+")


class JsonRenderer:
    """The last structlog processor: renders an event as one line of printable ASCII.

    Terminals and log collectors then never see control characters or an encoding that they do not expect.
    """

    def __init__(self, scrub: Scrub) -> None:
        self._scrub = scrub

    def __call__(self, _logger: Any, _method: str, event: MutableMapping[str, Any]) -> str:
        try:
            line = orjson.dumps(event, self._convert, orjson.OPT_PASSTHROUGH_DATACLASS).decode()
        except TypeError:  # lone surrogates, integers above 64 bits, keys that are not text
            line = json.dumps(event, default=self._convert)
        if line.isascii() and line.isprintable():
            return line
        return NOT_PRINTABLE.sub(_escape, line)

    def _convert(self, value: object) -> Any:
        """The text of a value without a form in JSON, which the scrubber has not seen yet."""
        return self._scrub(repr(value))


def _escape(match: re.Match[str]) -> str:
    return json.dumps(match[0])[1:-1]


class StderrLogger:
    """Writes to the current sys.stderr, which Dramatiq replaces by a pipe to its main process."""

    def msg(self, line: str) -> None:
        """Writes a line with one call. If the disk is full, the line is lost and the work goes on."""
        stream = sys.stderr
        try:  # suppress() costs as much as the write
            stream.write(line + "\n")
            stream.flush()
        except OSError:
            pass

    debug = info = warning = error = critical = msg
