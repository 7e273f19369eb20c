"""The photos and documents in the answer to a WhatsApp Flow: a JSON text whose form the Flow's author chooses.

A file in it is an object with a media id, a path or a URL, and with a type, a name or a hash. Source of the form:
Meta's "Media upload components" for Flows.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from typing import Any

from pipeline.values.emptiness import first_present, is_empty

MAX_TEXT = 1_000_000  # characters; an answer holds at most ten files, and no bytes of them
MAX_DEPTH = 8  # levels of the answer
# The names of a file's fields in Baileys' spelling, by their names in lower case without `_`.
NAMES: Mapping[str, str] = {
    "id": "id",
    "mediaid": "id",
    "mimetype": "mimetype",
    "filename": "fileName",
    "filesize": "fileLength",
    "filelength": "fileLength",
    "sha256": "fileSha256",
    "filesha256": "fileSha256",
    "encsha256": "fileEncSha256",
    "fileencsha256": "fileEncSha256",
    "directpath": "directPath",
    "mediakey": "mediaKey",
    "url": "url",
    "cdnurl": "url",
    "encryptionmetadata": "encryption",
}
LOCATIONS = ("id", "directPath", "url")
DESCRIPTIONS = ("mimetype", "fileName", "fileSha256")


def flow_media(text: Any) -> Iterator[dict[str, Any]]:
    """The files in an answer, with their fields in Baileys' spelling; none in a text that is not JSON."""
    if not isinstance(text, str) or len(text) > MAX_TEXT:
        return
    try:
        answer = json.loads(text)
    except (ValueError, RecursionError):
        return
    yield from _walk(answer, MAX_DEPTH)


def _walk(value: Any, depth: int) -> Iterator[dict[str, Any]]:
    if not depth or not isinstance(value, list | dict):
        return
    if isinstance(value, dict) and (fields := _file(value)):
        yield fields
        return
    for part in value if isinstance(value, list) else value.values():
        yield from _walk(part, depth - 1)


def _file(value: Mapping[str, Any]) -> dict[str, Any]:
    """The fields of a file; empty for another object."""
    fields = {NAMES[key]: field for name, field in value.items() if (key := name.lower().replace("_", "")) in NAMES}
    if first_present(fields, *LOCATIONS) is None or first_present(fields, *DESCRIPTIONS) is None:
        return {}
    if not is_empty(fields.pop("encryption", None)):  # with keys that only the Flow's own endpoint gets
        fields.pop("url", None)
    return fields
