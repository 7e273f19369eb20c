"""Decodes JSON bodies strictly, and refuses those that would become too many objects before it makes the first one."""

from __future__ import annotations

import json
import math
import re
from typing import Any

from pipeline.errors import PayloadError

MAX_DEPTH = 64  # levels of arrays and objects
MAX_VALUES = 250_000  # of one body, which become 20 MB of objects in 0.2 s; a batch of 1000 messages has about 60,000
MAX_DIGITS = 100  # of a whole number; to read 60 MB of numbers with 4000 digits each takes two seconds
MIN_VALUE_BYTES = 2  # a value and its comma
# A thumbnail as numbered bytes has a thousand values and more, and nothing needs it: without them a history of
# thousands of messages fits. Within a text its quotes would be escaped, so that this matches no text.
_THUMBNAIL = re.compile(
    rb'"jpegThumbnail":\s?(?:\{[0-9",:\s]*\}|\[[0-9,\s]*\]|\{"type":\s?"Buffer",\s?"data":\s?\[[0-9,\s]*\]\})'
)


def decode(body: bytes, *, max_values: int = MAX_VALUES) -> Any:
    """The JSON of a body: UTF-8, without NaN, infinity or duplicate names, at most MAX_DEPTH levels deep.

    Of a body with too many values the thumbnails that are numbered bytes are left out.

    Raises:
        PayloadError: it is not such JSON, or may have more than `max_values` values.
    """
    # json.loads needs 70 bytes and more for each value, and other threads wait meanwhile.
    if len(body) > MIN_VALUE_BYTES * max_values and _most_values(body) > max_values:
        body = _THUMBNAIL.sub(b'"jpegThumbnail":null', body)
        if _most_values(body) > max_values:
            raise PayloadError("", f"the body has more than {max_values} commas and brackets")
    try:
        decoded = json.loads(
            body.decode("utf-8-sig"),
            object_pairs_hook=_object,
            parse_constant=_refuse_constant,
            parse_float=_finite,
            parse_int=_whole,
        )
    except (ValueError, RecursionError):  # RecursionError: about a thousand levels
        raise PayloadError("", "the body is not JSON") from None
    # There are at most as many levels as brackets, so most bodies are not walked.
    if body.count(b"[") + body.count(b"{") > MAX_DEPTH and _is_deeper(decoded, MAX_DEPTH):
        raise PayloadError("", f"the body is nested deeper than {MAX_DEPTH} levels")
    return decoded


def _most_values(body: bytes) -> int:
    """An upper bound of the number of values: each but the first follows a comma or an opening bracket.

    Those in texts count too: the base64 of a file has none. Counting takes 1 ms a megabyte.
    """
    return 1 + body.count(b",") + body.count(b"[") + body.count(b"{")


def _is_deeper(decoded: Any, limit: int) -> bool:
    level = [decoded]
    for _ in range(limit):
        containers = (
            item.values() if isinstance(item, dict) else item for item in level if isinstance(item, dict | list)
        )
        level = [child for children in containers for child in children]
    return any(isinstance(item, dict | list) for item in level)


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    result = dict(pairs)
    if len(result) < len(pairs):
        raise PayloadError("", "the body has an object with a duplicate name")
    return result


def _refuse_constant(name: str) -> Any:
    raise ValueError(f"{name} is not JSON")


def _whole(text: str) -> int:
    if len(text) > MAX_DIGITS:
        raise ValueError("a number has too many digits")
    return int(text)


def _finite(text: str) -> float:
    number = float(text)
    if math.isinf(number):
        raise ValueError("a number is too large")
    return number
