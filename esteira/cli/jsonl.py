"""Lines of JSON, one attachment each, as a stream: a wrong line is told of and left out."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator

from pipeline.errors import PayloadError
from pipeline.models import Attachment, parse_attachment


def attachments(lines: Iterable[bytes], wrong: Callable[[str, str], None]) -> Iterator[tuple[str, Attachment]]:
    """Each line's place (`line 3`) and attachment; blank lines are left out, `wrong(place, fault)` is told of bad."""
    for number, line in enumerate(lines, 1):
        place = f"line {number}"
        if not line.strip():
            continue
        try:
            yield place, parse_line(line)
        except PayloadError as error:
            wrong(place, error.message)


def parse_line(line: bytes) -> Attachment:
    """One attachment from its line.

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
