"""Normalises the values that gateways send: text, file names, bytes, numbers, times, keys and hashes."""

from __future__ import annotations

import base64
import json
import re
import unicodedata
from datetime import datetime
from typing import Any

MAX_FILENAME_BYTES = 255  # the limit of common file systems
MAX_FILENAME_READ = 4096  # characters of a longer name that are read, and its end
MAX_EXTENSION = 16  # characters; what is longer is no extension
SHA256_BYTES = 32
LATEST_SECONDS = 10**11  # larger times are milliseconds: as seconds it is the year 5138, as milliseconds 1973
MAX_ERROR_TEXT = 4000  # characters of a gateway's error message that are processed
MAX_ERROR_SHOWN = 200  # characters of it that are kept

_URL = re.compile(r"[a-z][a-z0-9+.-]{0,20}://\S+", re.IGNORECASE)
_EXPIRY = re.compile(r"[?&]oe=([0-9A-Fa-f]{8})(?:&|$)")


def clean_text(value: Any) -> Any:
    """Replaces NUL and lone surrogates, which databases and terminals cannot hold. Other types are unchanged."""
    if not isinstance(value, str):
        return value
    return value.replace("\0", "\ufffd").encode("utf-8", "replace").decode()


def plain_text(value: Any) -> Any:
    """Converts integers to text, as gateways send ids in both forms, and cleans text."""
    return str(value) if isinstance(value, int) and not isinstance(value, bool) else clean_text(value)


def display_name(value: Any) -> Any:
    """A sender's file name for display: without a path, control or direction marks, and at most 255 bytes long."""
    if not isinstance(value, str):
        return value
    name = value[max(value.rfind("/"), value.rfind("\\")) + 1 :]
    if len(name) > MAX_FILENAME_READ:
        name = name[:MAX_FILENAME_READ] + name[-MAX_EXTENSION:]
    name = clean_text(name)
    name = "".join(char for char in name if unicodedata.category(char) not in {"Cc", "Cf", "Zl", "Zp"}).strip(" .")
    return _fitting_name(name) or None


def _fitting_name(name: str) -> str:
    """The name in at most MAX_FILENAME_BYTES bytes: the end of its stem is cut off, its extension stays."""
    if len(name.encode()) <= MAX_FILENAME_BYTES:
        return name
    stem, dot, ext = name.rpartition(".")
    if not stem or len(ext) >= MAX_EXTENSION:
        stem, dot, ext = name, "", ""
    end = dot + ext
    return stem.encode()[: MAX_FILENAME_BYTES - len(end.encode())].decode(errors="ignore") + end


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
    """None for an empty text, which gateways send for a missing value."""
    return None if value == "" else value


def key_text(value: Any) -> Any:
    """A media key as text. Another value is kept as text too, so that the fetch step refuses it with `decrypt_key`."""
    if isinstance(value, (dict, list, bytes)):
        decoded = decode_bytes(value)
        return base64.b64encode(decoded).decode() if decoded is not None else json.dumps(value, default=str)
    return clean_text(value)


def sha256_text(value: Any) -> Any:
    """A SHA-256 as 64 lower-case hex digits; None if empty. Raises ValueError."""
    if value is None or value == "":
        return None
    decoded = decode_bytes(value)
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
    """A gateway's error message for use in our own: one line of at most 200 characters, without URLs."""
    is_text = isinstance(value, str) or (isinstance(value, int) and abs(value) < 2**63)
    text = str(clean_text(value))[:MAX_ERROR_TEXT] if is_text else ""
    return _URL.sub("(URL)", " ".join(text.split()))[:MAX_ERROR_SHOWN].strip()


def url_expiry(url: str | None) -> int | None:
    """When a WhatsApp media URL or path expires, in Unix seconds, from its `oe` parameter (hex); None without one."""
    match = _EXPIRY.search(url or "")
    return int(match[1], 16) if match else None
