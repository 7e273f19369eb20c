"""The lines of `esteira start`: those of its parts, and its own, as text with a prefix or as JSON."""

from __future__ import annotations

import json
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

import orjson

NAME_WIDTH = 6  # characters of the longest name of a part

# Makes the line to print from the part's name, its line, when it was written, and the colour code of the part or None.
LineFormat = Callable[[str, str, datetime, str | None], str]


def text_line(part: str, line: str, at: datetime, colour: str | None) -> str:
    """A line with the local time and the part's name in front; the only time in it if the part leaves its own out."""
    prefix = f"{at:%H:%M:%S} {part:<{NAME_WIDTH}} | "
    return f"\x1b[0;{colour}m{prefix}\x1b[0m{line}" if colour else f"{prefix}{line}"


def json_lines(scrub: Callable[[Any], Any]) -> LineFormat:
    """A format that makes each line a JSON object with the field `part`.

    A line that is one already keeps its fields. Any other line, such as that of an interpreter or of a library, becomes
    the `event` of a new object, without secrets.
    """

    def format_line(part: str, line: str, at: datetime, _colour: str | None) -> str:
        fields = _object(line)
        if fields is None:
            return json_line(part, str(scrub(line)), at=at)
        if not fields or "part" in fields:
            return json.dumps({**fields, "part": part})
        return f'{{"part":{json.dumps(part)},{line.strip()[1:]}'

    return format_line


def json_line(part: str, event: str, *, at: datetime | None = None, level: str = "info", **fields: Any) -> str:
    """One line of JSON with the fields that every log line has."""
    timestamp = (at or datetime.now(UTC)).astimezone(UTC).isoformat().replace("+00:00", "Z")
    return json.dumps({"part": part, **fields, "event": event, "level": level, "timestamp": timestamp})


def _object(line: str) -> dict[str, Any] | None:
    if not line.lstrip().startswith("{"):
        return None
    try:
        value = orjson.loads(line)
    except orjson.JSONDecodeError:
        return None
    return value if isinstance(value, dict) else None
