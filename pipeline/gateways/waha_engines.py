"""The kind and size of a WAHA message, from its `_data`: the unchanged record of the engine that WAHA runs."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from pipeline.models import Kind
from pipeline.values.gateway_values import json_object, whole_number

MAX_WRAPPERS = 4  # nested wrappers: view once, ephemeral, document with caption, and one more
MAX_SIZE = 2**53  # bytes

# Values of `type` (WEBJS, WPP) and of `Info.MediaType` (GOWS).
_TYPES = {**{kind.value: kind for kind in Kind}, "gif": Kind.VIDEO, "ptv": Kind.VIDEO}
# Nodes of WhatsApp's own message, which NOWEB and GOWS pass on.
_NODES = {
    "imageMessage": Kind.IMAGE,
    "videoMessage": Kind.VIDEO,
    "ptvMessage": Kind.VIDEO,
    "audioMessage": Kind.AUDIO,
    "documentMessage": Kind.DOCUMENT,
    "stickerMessage": Kind.STICKER,
}


def engine_record(data: Mapping[str, Any]) -> tuple[Kind | None, int | None]:
    """The kind and the size in bytes from an engine's record; None for what it does not contain."""
    types = (data.get("type"), json_object(data.get("Info")).get("MediaType"))
    kind = next((_TYPES[type_] for type_ in types if isinstance(type_, str) and type_ in _TYPES), None)
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
    # The size only helps to schedule the download: an invalid one is ignored.
    number = whole_number(value)
    if isinstance(number, str):
        number = int(number) if number.isascii() and number.isdigit() and len(number) < 17 else None
    return number if isinstance(number, int) and 0 < number <= MAX_SIZE else None
