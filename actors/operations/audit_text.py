"""The targets and results of the audit log as text for people."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping
from typing import Any

TIMES = frozenset({"since", "until"})  # in Unix milliseconds
EXPIRY = "expires"  # in Unix seconds

_PLAIN = re.compile(r'[^\s"=,]+')


def describe(values: Mapping[str, Any], time_text: Callable[[int], str]) -> str:
    """`name=value` pairs, separated by spaces. `time_text` formats Unix milliseconds.

    Values that contain a separator are quoted, so that no value can look like another pair. Control characters, line
    breaks and direction marks are replaced.
    """
    return " ".join(f"{_printable(name)}={_value(name, value, time_text)}" for name, value in values.items())


def _value(name: str, value: Any, time_text: Callable[[int], str]) -> str:
    if isinstance(value, list):
        return ", ".join(_value("", item, time_text) for item in value)
    if isinstance(value, int) and not isinstance(value, bool) and (name in TIMES or name == EXPIRY):
        return f'"{time_text(value * 1000 if name == EXPIRY else value)}"'
    text = _printable(value if isinstance(value, str) else json.dumps(value))
    return text if _PLAIN.fullmatch(text) else json.dumps(text, ensure_ascii=False)


def _printable(text: str) -> str:
    return "".join(char if char.isprintable() else "\N{REPLACEMENT CHARACTER}" for char in text)
