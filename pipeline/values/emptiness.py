"""What counts as an empty value: gateways serialise a field without a value in many forms."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

_ZERO_TEXT = frozenset("0.+-_")  # the characters of a text that is read as 0, such as 00 or 0.0
_BUFFER = frozenset({"type", "data"})  # the names in a serialised Buffer of Node.js


def is_empty(value: Any) -> bool:
    """Whether a value is one of the forms of "nothing".

    Forms: null, false, an empty or blank text, an empty list or object, and a Buffer without bytes:
    `{"type": "Buffer", "data": []}`. A zero is no such form: see `none_if_zero`.
    """
    if isinstance(value, str):
        return not value or value.isspace()
    if isinstance(value, dict) and value:
        return value.keys() <= _BUFFER and not value.get("data")
    return value is None or value is False or (isinstance(value, bytes | list | dict) and not value)


def first_present(fields: Mapping[str, Any], *names: str) -> Any:
    """The first value that is not empty among the fields with these names; None if all are empty."""
    return next((value for name in names if not is_empty(value := fields.get(name))), None)


def none_if_zero(value: Any) -> Any:
    """None for 0 as a number or a text, for fields that cannot be 0: a size, or a time."""
    if isinstance(value, str):
        return None if "0" in value and set(value.strip()) <= _ZERO_TEXT else value
    return None if isinstance(value, int | float) and value == 0 else value
