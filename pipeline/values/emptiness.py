"""What counts as an empty value: gateways serialise a field without a value in many forms."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

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
    """None for 0 as a number, a text or a protobuf.js Long, for fields that cannot be 0: a size, or a time."""
    if isinstance(value, dict):
        return None if value.get("low") == 0 == value.get("high") else value
    is_zero = value.strip() in {"0", "0.0"} if isinstance(value, str) else isinstance(value, int | float) and value == 0
    return None if is_zero else value
