"""Reads attachments from a stream of JSON lines, one attachment per line."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator

from pipeline.errors import PayloadError
from pipeline.models import Attachment, parse_attachment


def attachments(lines: Iterable[bytes], on_error: Callable[[str, str], None]) -> Iterator[tuple[str, Attachment]]:
    """Yields (`line 3`, attachment) for each valid line and skips blank ones.

    An invalid line is reported by `on_error("line 3", message)` and skipped.
    """
    for number, line in enumerate(lines, 1):
        name = f"line {number}"
        if not line.strip():
            continue
        try:
            yield name, parse_line(line)
        except PayloadError as error:
            on_error(name, error.message)


def parse_line(line: bytes) -> Attachment:
    """Parses one line.

    Raises:
        PayloadError: the line is not JSON, or a field is wrong or missing.
    """
    try:
        fields = json.loads(line.rstrip())
    except json.JSONDecodeError as error:
        raise PayloadError("", f"is not JSON: {error.msg} at column {error.colno}") from None
    except (UnicodeDecodeError, RecursionError, ValueError):
        raise PayloadError("", "is not JSON") from None
    return parse_attachment(fields)
