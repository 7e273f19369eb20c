"""The media in WhatsApp's own message, as Baileys and whatsmeow decode it: Evolution API and WAHA pass it on."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from itertools import islice
from typing import Any

from pipeline.models import Kind
from pipeline.values.emptiness import first_present
from pipeline.values.gateway_values import json_object

MAX_DEPTH = 16  # levels of nested message wrappers; WhatsApp uses up to eight
KINDS: Mapping[str, Kind] = {
    "imageMessage": Kind.IMAGE,
    "videoMessage": Kind.VIDEO,
    "ptvMessage": Kind.VIDEO,
    "audioMessage": Kind.AUDIO,
    "documentMessage": Kind.DOCUMENT,
    "stickerMessage": Kind.STICKER,
    "lottieStickerMessage": Kind.STICKER,
}
# A quoted or shared message belongs to another message; the edit of a caption repeats its file.
FOREIGN_NODES = frozenset({"contextInfo", "quotedMessage", "protocolMessage"})

MediaNode = tuple[str, dict[str, Any]]


def media_nodes(content: Any, *, at_most: int) -> list[MediaNode]:
    """The names and fields of the media in a message, in any wrapper: captions, view once, templates, cards."""
    return _distinct(islice(_walk(content, MAX_DEPTH), at_most))


def node_kind(name: str, fields: Mapping[str, Any]) -> Kind:
    """The kind of a node: a voice note is a sound that is marked as one."""
    voice = name == "audioMessage" and first_present(fields, "ptt", "PTT", "voice")
    return Kind.PTT if voice else KINDS[name]


def _walk(content: Any, depth: int) -> Iterator[MediaNode]:
    if isinstance(content, list) and depth:
        for part in content:
            yield from _walk(part, depth - 1)
    elif isinstance(content, dict) and depth:
        for name, value in content.items():
            if name in KINDS and value is not None and "message" not in json_object(value):
                yield name, json_object(value)
            elif name not in FOREIGN_NODES:
                yield from _walk(value, depth - 1)


def _distinct(nodes: Iterator[MediaNode]) -> list[MediaNode]:
    # A template is in a message twice, in two forms, each with the same picture.
    distinct: list[MediaNode] = []
    paths: set[str] = set()
    for name, fields in nodes:
        path = fields.get("directPath")
        if not (isinstance(path, str) and path in paths):
            distinct.append((name, fields))
        paths |= {path} if path and isinstance(path, str) else set()
    return distinct
