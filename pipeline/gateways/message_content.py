"""The media in WhatsApp's own message, as Baileys and whatsmeow decode it: Evolution API and WAHA pass it on."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from itertools import islice
from typing import Any

from pipeline.gateways.flow_media import flow_media
from pipeline.models import Kind
from pipeline.values.emptiness import first_present, is_empty
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
    "productImage": Kind.IMAGE,
    "catalogImage": Kind.IMAGE,
    "stickerPackMessage": Kind.DOCUMENT,
}
STICKER_PACK, INVOICE, FLOW = "stickerPackMessage", "invoiceMessage", "paramsJson"
ZIP = "application/zip"  # the type of a sticker pack, which declares none
INVOICE_PREFIX = "attachment"  # of the fields of the file in an invoice
# What belongs to another message, repeats a file (the edit of a caption), or is no file of the conversation: metadata,
# bundles of old messages, backgrounds.
FOREIGN_NODES = frozenset(
    {
        "contextInfo",
        "quotedMessage",
        "protocolMessage",
        "messageContextInfo",
        "messageHistoryBundle",
        "historySyncNotification",
        "background",
    }
)

# Types of WhatsApp Web's messages that are no files: the preview of a link in a text has a key.
WITHOUT_MEDIA = frozenset({"chat", "protocol", "revoked", "reaction"})

MediaNode = tuple[str, dict[str, Any]]


def media_nodes(content: Any, *, at_most: int) -> list[MediaNode]:
    """The names and fields of the media in a message, in any wrapper: captions, view once, templates, cards.

    Media are the nodes with a name in KINDS, every other node with a path and a key, the file of an invoice and those
    in the answer to a Flow.
    """
    return _distinct(islice(_walk(content, MAX_DEPTH), at_most))


def node_kind(name: str, fields: Mapping[str, Any]) -> Kind | None:
    """The kind of a node: a voice note is a sound that is marked as one. None for a node with another name."""
    voice = name == "audioMessage" and first_present(fields, "ptt", "PTT", "voice")
    return Kind.PTT if voice else KINDS.get(name)


def is_without_media(type_: Any) -> bool:
    """Whether WhatsApp Web's messages of this type never have a file."""
    return isinstance(type_, str) and type_ in WITHOUT_MEDIA


def has_path_and_key(fields: Mapping[str, Any]) -> bool:
    """Whether these fields name a file on WhatsApp's servers; a thumbnail has a path of another name."""
    return not (is_empty(fields.get("directPath")) or is_empty(fields.get("mediaKey")))


def _walk(content: Any, depth: int) -> Iterator[MediaNode]:
    if isinstance(content, list) and depth:
        for part in content:
            yield from _walk(part, depth - 1)
    elif isinstance(content, dict) and depth:
        for name, value in content.items():
            if name in FOREIGN_NODES:
                continue
            if node := _node(name, value):
                yield name, node
            elif name == FLOW:
                yield from ((FLOW, fields) for fields in flow_media(value))
            elif name not in KINDS or "message" in json_object(value):
                yield from _walk(value, depth - 1)
            elif value is not None:
                yield name, json_object(value)


def _node(name: str, value: Any) -> dict[str, Any]:
    """The fields of a medium that has a location; empty for another value."""
    fields = json_object(value)
    if name == INVOICE:
        file = {_without_prefix(key): field for key, field in fields.items() if key.startswith(INVOICE_PREFIX)}
        return file if has_path_and_key(file) else {}
    if "message" in fields or not has_path_and_key(fields):
        return {}
    return {**fields, "mimetype": first_present(fields, "mimetype") or ZIP} if name == STICKER_PACK else fields


def _without_prefix(name: str) -> str:
    rest = name.removeprefix(INVOICE_PREFIX)
    return rest[:1].lower() + rest[1:]


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
