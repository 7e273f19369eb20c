"""What WAHA's engines tell of a message beyond WAHA's own words: `_data` is the engine's record of it, as it stands."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from pipeline.models import Kind
from pipeline.values.gateway_values import json_object, whole_number

MAX_WRAPPERS = 4  # view once, ephemeral, document with caption and what may come
MAX_SIZE = 2**53

# In `type` (WEBJS, WPP) and in `Info.MediaType` (GOWS).
_WORDS = {**{kind.value: kind for kind in Kind}, "gif": Kind.VIDEO, "ptv": Kind.VIDEO}
# In WhatsApp's own message, as NOWEB and GOWS pass it on.
_NODES = {
    "imageMessage": Kind.IMAGE,
    "videoMessage": Kind.VIDEO,
    "ptvMessage": Kind.VIDEO,
    "audioMessage": Kind.AUDIO,
    "documentMessage": Kind.DOCUMENT,
    "stickerMessage": Kind.STICKER,
}


def engine_says(data: Mapping[str, Any]) -> tuple[Kind | None, int | None]:
    """The kind and the size in bytes that an engine's record tells, None for what it does not."""
    words = (data.get("type"), json_object(data.get("Info")).get("MediaType"))
    kind = next((_WORDS[word] for word in words if isinstance(word, str) and word in _WORDS), None)
    name, node = _node(json_object(data.get("message") or data.get("Message")))
    voice = name == "audioMessage" and (node.get("ptt") is True or node.get("PTT") is True)
    return kind or (Kind.PTT if voice else _NODES.get(name)), _size(data.get("size") or node.get("fileLength"))


def _node(content: Mapping[str, Any]) -> tuple[str, Mapping[str, Any]]:
    for _ in range(MAX_WRAPPERS):
        if name := next((name for name in _NODES if json_object(content.get(name))), None):
            return name, content[name]
        inner = (json_object(json_object(part).get("message")) for part in content.values())
        content = next(filter(None, inner), {})
    return "", {}


def _size(value: Any) -> int | None:
    # It only helps to plan, so a strange one is no fault of the message.
    number = whole_number(value)
    if isinstance(number, str):
        number = int(number) if number.isascii() and number.isdigit() and len(number) < 17 else None
    return number if isinstance(number, int) and 0 < number <= MAX_SIZE else None
