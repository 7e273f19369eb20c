"""Normalises the values that gateways send: text, bytes, numbers, times, keys and hashes."""

from __future__ import annotations

import base64
import json
import re
from datetime import datetime
from itertools import groupby
from typing import Any

from pipeline.scrubber import scrub_message
from pipeline.values.emptiness import is_empty

SHA256_BYTES = 32  # also those of a media key
MAX_DIGITS = 128  # characters of a key or hash in which spaces are looked at
LATEST_SECONDS = 10**11  # larger times are milliseconds: as seconds it is the year 5138, as milliseconds 1973
MAX_ERROR_TEXT = 4000  # characters of a gateway's error message that are processed
MAX_ERROR_SHOWN = 200  # characters of it that are kept

UNSTORABLE = "must not contain NUL or a lone surrogate"

_URL = re.compile(r"[a-z][a-z0-9+.-]{0,20}://\S+", re.IGNORECASE)
# What servers quote of a request: a media key as base64 or hex, as a list of numbers, or as the pairs of a Buffer.
_WORD = re.compile(r"[A-Za-z0-9+/_-]+={0,2}")
_NUMBERS = re.compile(r'["0-9][" 0-9,:]*')
_PAIR = re.compile(r"<?[0-9a-fA-F]{2}>?")
MIN_WORD, MIN_ITEMS = 40, 8  # characters, and numbers or pairs in a row, from which they count as data
DATA = "(data)"
_QUERY = re.compile(r"\?[A-Za-z0-9_.-]{1,40}=\S+")
_SPACED_BASE64 = re.compile(r"[A-Za-z0-9+/=_\s-]+")
_EXPIRY = re.compile(r"[?&]oe=([0-9A-Fa-f]{8})(?:&|$)")


def clean_text(value: Any) -> Any:
    """Replaces NUL and lone surrogates, which databases and terminals cannot hold. Other types are unchanged."""
    if not isinstance(value, str):
        return value
    return value.replace("\0", "\ufffd").encode("utf-8", "replace").decode()


def plain_text(value: Any) -> Any:
    """Converts integers to text, as gateways send ids in both forms, and cleans text."""
    return str(value) if isinstance(value, int) and not isinstance(value, bool) else clean_text(value)


def identifier_text(value: Any) -> Any:
    """An identifier as text, unchanged: two that differ must not become one. Integers become text.

    Raises:
        ValueError: it has a NUL or a lone surrogate, which databases cannot hold.
    """
    text = plain_text(value)
    if isinstance(value, str) and text != value:
        raise ValueError(UNSTORABLE)
    return text


def json_object(value: Any) -> dict[str, Any]:
    """The value if it is a JSON object, else an empty one."""
    return value if isinstance(value, dict) else {}


def json_objects(value: Any) -> list[dict[str, Any]]:
    """The objects in a JSON list; an empty list for any other value."""
    return [item for item in value if isinstance(item, dict)] if isinstance(value, list) else []


def decode_bytes(value: Any) -> bytes | None:
    """The bytes in any form that gateways send, or None for another value.

    Forms: base64 (standard or URL-safe, padded or not), hex, a list of numbers, and the byte arrays of Evolution API
    and Baileys: `{"0": 146, "1": 129, …}` and `{"type": "Buffer", "data": […]}`.
    """
    if isinstance(value, bytes):
        return value
    if isinstance(value, dict):
        if isinstance(value.get("data"), list):
            return decode_bytes(value["data"])
        try:
            return decode_bytes([value[str(index)] for index in range(len(value))])
        except KeyError:
            return None
    if isinstance(value, list):
        try:
            return bytes(value)
        except (TypeError, ValueError):
            return None
    return _bytes_in_text(value.strip()) if isinstance(value, str) else None


def _bytes_in_text(text: str) -> bytes | None:
    if len(text) % 2 == 0 and len(text) >= 2 * SHA256_BYTES and re.fullmatch(r"[0-9a-fA-F]+", text):
        return bytes.fromhex(text)
    padded = text.rstrip("=").replace("-", "+").replace("_", "/")
    try:
        return base64.b64decode(padded + "=" * (-len(padded) % 4), validate=True)
    except ValueError:  # includes binascii.Error, and text beyond ASCII
        return None


def none_if_empty(value: Any) -> Any:
    """None for a value in one of the forms of an empty one."""
    return None if is_empty(value) else value


def key_text(value: Any) -> Any:
    """A media key as text. Another value is kept as text too, so that the fetch step refuses it with `decrypt_key`.

    Raises:
        ValueError: it has spaces, and is not a key whose `+` became spaces.
    """
    if isinstance(value, (dict, list, bytes)):
        decoded = decode_bytes(value)
        return base64.b64encode(decoded).decode() if decoded is not None else json.dumps(value, default=str)
    return clean_text(_with_plus(value) if isinstance(value, str) else value)


def _with_plus(text: str) -> str:
    """Base64 of 32 bytes with `+` again for each space, as form decoding makes spaces of them. Other text unchanged.

    Unambiguous: base64 of 32 bytes has no spaces within, and without them it is too short. It may begin with `+`, but
    cannot end with one. The alphabet for URLs has `-` in place of `+`.

    Raises:
        ValueError: the spaces within the text are something else.
    """
    if " " not in text or len(text) > MAX_DIGITS or _is_32_bytes(text):
        return text
    for candidate in (text.strip(), text.rstrip().lstrip("\t\r\n")):
        if _is_32_bytes(repaired := candidate.replace(" ", "+")) and not {"-", "_"} & {*text}:
            return repaired
    if " " in text.strip() and _SPACED_BASE64.fullmatch(text):
        raise ValueError("has spaces: send the base64 as it is (in a form, + is written as %2B)")
    return text


def _is_32_bytes(text: str) -> bool:
    return len(_bytes_in_text(text.strip()) or b"") == SHA256_BYTES


def sha256_text(value: Any) -> Any:
    """A SHA-256 as 64 lower-case hex digits; None if empty. Spaces are read as in `key_text`.

    Raises:
        ValueError: it is anything else.
    """
    if is_empty(value):
        return None
    decoded = decode_bytes(_with_plus(value) if isinstance(value, str) else value)
    if decoded is None or len(decoded) != SHA256_BYTES:
        raise ValueError("must be a SHA-256 in hex, base64 or as an array of 32 bytes")
    return decoded.hex()


def whole_number(value: Any) -> Any:
    """The number of a protobuf.js Long, `{"low": 1, "high": 0, "unsigned": true}`; other values unchanged.

    Gateways pass on 64-bit numbers in this form. Text is left to pydantic.
    """
    if not (isinstance(value, dict) and all(isinstance(value.get(half), int) for half in ("low", "high"))):
        return none_if_empty(value)
    return ((value["high"] & 0xFFFFFFFF) << 32) | (value["low"] & 0xFFFFFFFF)


def unix_seconds(value: Any) -> int | None:
    """A time in whole Unix seconds; None for another value.

    Forms: seconds or milliseconds as a number or text, and ISO 8601 with a date and a time zone.
    """
    if isinstance(value, bool):
        return None
    try:
        number = float(value)
    except (TypeError, ValueError, OverflowError):
        return _iso_seconds(value) if isinstance(value, str) else None
    if not 0 < number < 1e15:  # nor NaN
        return None
    return int(number / 1000 if number > LATEST_SECONDS else number)


def _iso_seconds(text: str) -> int | None:
    try:
        time = datetime.fromisoformat(text)
        return int(time.timestamp()) if time.tzinfo and time.timestamp() > 0 else None
    except (ValueError, OverflowError):
        return None


def error_text(value: Any) -> str:
    """A gateway's error message for use in our own: one line of at most 200 characters, without URLs, keys and data."""
    is_text = isinstance(value, str) or (isinstance(value, int) and abs(value) < 2**63)
    # Scrubbed before it is cut: a part of a secret would not be recognised any more.
    text = scrub_message(str(clean_text(value)), limit=MAX_ERROR_TEXT) if is_text else ""
    shown = _URL.sub("(URL)", " ".join(text.split()))
    return _without_data(_QUERY.sub("?(query)", shown))[:MAX_ERROR_SHOWN].strip()


def _without_data(line: str) -> str:
    """The line with long random words, lists of numbers and rows of hex pairs replaced."""
    words: list[str] = []
    for is_pair, group in groupby(_NUMBERS.sub(_or_data_of_numbers, _WORD.sub(_or_data, line)).split(" "), _is_pair):
        row = list(group)
        words += [DATA] if is_pair and len(row) >= MIN_ITEMS else row
    return " ".join(words)


def _or_data(word: re.Match[str]) -> str:
    is_random = any(char.isupper() or char.isdecimal() or char == "+" for char in word[0])
    return DATA if len(word[0].rstrip("=")) >= MIN_WORD and is_random else word[0]


def _or_data_of_numbers(numbers: re.Match[str]) -> str:
    text = numbers[0].rstrip()
    return DATA + numbers[0][len(text) :] if text.count(",") + text.count(":") >= MIN_ITEMS else numbers[0]


def _is_pair(word: str) -> bool:
    return _PAIR.fullmatch(word) is not None


def url_expiry(url: str | None) -> int | None:
    """When a WhatsApp media URL or path expires, in Unix seconds, from its `oe` parameter (hex); None without one."""
    match = _EXPIRY.search(url or "")
    return int(match[1], 16) if match else None
