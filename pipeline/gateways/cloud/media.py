"""The media that a message of the Cloud API names: its own, those of headers and cards, those of a Flow's answer."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from pipeline.gateways.flow_media import flow_media
from pipeline.values.emptiness import first_present
from pipeline.values.gateway_values import json_object, json_objects

KINDS = ("image", "video", "audio", "document", "sticker")
MEDIA_ERROR = 131052  # "Media download error": Meta itself could not download the file, for example for its size
CONTAINERS = ("interactive", "template")  # nodes whose headers and cards may hold media
MAX_DEPTH = 8  # levels of such a node
FLOW_ANSWER = "response_json"  # in `interactive.nfm_reply`

Medium = tuple[str, Mapping[str, Any]]  # the name of its kind, empty if unknown, and its node


def message_media(message: Mapping[str, Any]) -> Iterator[Medium]:
    """The media of a message; an empty node is one that Meta could not download."""
    if (name := message.get("type")) in KINDS:
        yield str(name), json_object(message.get(str(name)))
        return
    if name := next((name for name in KINDS if isinstance(message.get(name), dict)), None):
        yield name, message[name]
        return
    nested = [medium for name in CONTAINERS for medium in _walk(message.get(name), MAX_DEPTH)]
    yield from nested
    if not nested and _is_lost(message):
        yield "", {}


def _is_lost(message: Mapping[str, Any]) -> bool:
    errors = json_objects(message.get("errors"))
    lost = bool(errors) and json_object(message.get("unsupported")).get("type") in KINDS
    return lost or any(error.get("code") == MEDIA_ERROR for error in errors)


def _walk(value: Any, depth: int) -> Iterator[Medium]:
    if not depth or not isinstance(value, list | dict):
        return
    if isinstance(value, list):
        for part in value:
            yield from _walk(part, depth - 1)
        return
    for name, part in value.items():
        if name in KINDS and first_present(json_object(part), "id", "link") is not None:
            yield name, part
        elif name == FLOW_ANSWER:
            yield from (("", _as_node(fields)) for fields in flow_media(part))
        else:
            yield from _walk(part, depth - 1)


def _as_node(fields: Mapping[str, Any]) -> dict[str, Any]:
    """The fields of a file in a Flow's answer, with the names of the Cloud API."""
    return {
        "id": fields.get("id"),
        "link": fields.get("url"),
        "mime_type": fields.get("mimetype"),
        "filename": fields.get("fileName"),
        "sha256": fields.get("fileSha256"),
    }
