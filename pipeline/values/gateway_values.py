"""The forms that gateways write values in: text, names of files, bytes, numbers, keys and hashes."""

from __future__ import annotations

import base64
import json
import re
import unicodedata
from typing import Any

MAX_FILENAME_BYTES = 255  # the limit of a name on common filesystems
SHA256_BYTES = 32
LATEST_SECONDS = 10**11  # the year 5138; as milliseconds it was 1973

MAX_SAYING = 4000  # characters of a gateway's explanation that are looked at

_URL = re.compile(r"[a-z][a-z0-9+.-]{0,20}://\S+", re.IGNORECASE)
_EXPIRY = re.compile(r"[?&]oe=([0-9A-Fa-f]{8})(?:&|$)")


def clean_text(value: Any) -> Any:
    """Replaces what a database or a terminal cannot hold: NUL and lone surrogates. Other types pass unchanged."""
    if not isinstance(value, str):
        return value
    return value.replace("\0", "\ufffd").encode("utf-8", "replace").decode()


def plain_text(value: Any) -> Any:
    """Numbers become text, as gateways send ids either way; text is cleaned."""
    return str(value) if isinstance(value, int) and not isinstance(value, bool) else clean_text(value)


def display_name(value: Any) -> Any:
    """The file name that a sender gave, fit for display: no path, no control or direction marks, at most 255 bytes."""
    if not isinstance(value, str):
        return value
    name = re.split(r"[/\\]", clean_text(value))[-1]
    name = "".join(char for char in name if unicodedata.category(char) not in {"Cc", "Cf", "Zl", "Zp"}).strip(" .")
    while len(name.encode()) > MAX_FILENAME_BYTES:
        stem, dot, ext = name.rpartition(".")
        name = f"{stem[:-1]}{dot}{ext}" if stem and len(ext) < 16 else name[:-1]
    return name or None


def json_object(value: Any) -> dict[str, Any]:
    """A JSON object as it is, anything else as an empty one."""
    return value if isinstance(value, dict) else {}


def json_objects(value: Any) -> list[dict[str, Any]]:
    """The objects in a JSON list; none in anything else."""
    return [item for item in value if isinstance(item, dict)] if isinstance(value, list) else []


def decode_bytes(value: Any) -> bytes | None:
    """The bytes behind what gateways send for them, or None if it is none of their forms.

    Forms: base64 (standard or URL-safe, padded or not), hex, a list of numbers, `{"0": 146, "1": 129, …}` and
    `{"type": "Buffer", "data": […]}` (Evolution API and Baileys serialise byte arrays so).
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
    except ValueError:  # binascii.Error is one; characters beyond ASCII raise another
        return None


def none_if_empty(value: Any) -> Any:
    """Empty text means none, as gateways send it for what a message does not have."""
    return None if value == "" else value


def key_text(value: Any) -> Any:
    """A media key as text. What is no key stays as it came: fetch refuses it with `decrypt_key`."""
    if isinstance(value, (dict, list, bytes)):
        decoded = decode_bytes(value)
        return base64.b64encode(decoded).decode() if decoded is not None else json.dumps(value, default=str)
    return clean_text(value)


def sha256_text(value: Any) -> Any:
    """A SHA-256 as 64 lower-case hex digits; empty means none."""
    if value is None or value == "":
        return None
    decoded = decode_bytes(value)
    if decoded is None or len(decoded) != SHA256_BYTES:
        raise ValueError("must be a SHA-256 in hex, base64 or as an array of 32 bytes")
    return decoded.hex()


def whole_number(value: Any) -> Any:
    """A number that JavaScript split in two halves, as `{"low": 1, "high": 0, "unsigned": true}`; others unchanged.

    protobuf.js writes 64-bit numbers so (its Long), and gateways pass that on. Text passes: pydantic reads it.
    """
    if not (isinstance(value, dict) and all(isinstance(value.get(half), int) for half in ("low", "high"))):
        return none_if_empty(value)
    return ((value["high"] & 0xFFFFFFFF) << 32) | (value["low"] & 0xFFFFFFFF)


def seconds_in(value: Any) -> int | None:
    """A time in whole Unix seconds, from seconds or milliseconds as a number or text; None if it is neither."""
    if isinstance(value, bool):
        return None
    try:
        number = float(value)
    except (TypeError, ValueError, OverflowError):
        return None
    if not 0 < number < 1e15:  # nor NaN
        return None
    return int(number / 1000 if number > LATEST_SECONDS else number)


def said(value: Any) -> str:
    """What a gateway says of a fault, fit for an error of ours: one line of at most 200 characters, without URLs."""
    known = isinstance(value, str) or (isinstance(value, int) and abs(value) < 2**63)
    text = str(clean_text(value))[:MAX_SAYING] if known else ""
    return _URL.sub("(URL)", " ".join(text.split()))[:200].strip()


def expiry_in(url: str | None) -> int | None:
    """When a URL or a path of WhatsApp's media stops working, in Unix seconds: its `oe` is that in hex."""
    found = _EXPIRY.search(url or "")
    return int(found[1], 16) if found else None
