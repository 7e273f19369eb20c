"""The media that a WAHA message's `_data` names: the unchanged record of the engine that WAHA runs."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from pipeline.gateways.message_content import has_path_and_key, is_without_media, media_nodes, node_kind
from pipeline.models import Kind
from pipeline.security.whatsapp_media import USELESS_URLS
from pipeline.values.emptiness import first_present, is_empty
from pipeline.values.gateway_values import json_object, whole_number

MAX_SIZE = 2**53  # bytes

# Values of `type` (WEBJS, WPP) and of `Info.MediaType` (GOWS).
_TYPES = {**{kind.value: kind for kind in Kind}, "gif": Kind.VIDEO, "ptv": Kind.VIDEO}


@dataclass(frozen=True)
class EngineMedia:
    """One of the media in an engine's record. `fields` are its own, with names in lower case."""

    kind: Kind | None = None
    fields: Mapping[str, Any] = field(default_factory=dict, repr=False)

    def get(self, *names: str) -> Any:
        """The first of these fields that is not empty."""
        return first_present(self.fields, *names)

    @property
    def size(self) -> int | None:
        """The size in bytes; None if it is missing or invalid, because it only helps to schedule the download."""
        number = whole_number(self.get("size", "filelength"))
        if isinstance(number, str):
            number = int(number) if number.isascii() and number.isdigit() and len(number) < 17 else None
        return number if isinstance(number, int) and 0 < number <= MAX_SIZE else None

    @property
    def location(self) -> dict[str, Any]:
        """The fields of an attachment that is fetched from WhatsApp; empty if the record does not have what it needs.

        Needed is a path or URL, and a key or, where nothing is encrypted, a hash.
        """
        url = self.get("url", "clienturl", "deprecatedmms3url")
        url = None if isinstance(url, str) and url in USELESS_URLS else url
        sha256 = self.get("filesha256", "filehash")
        place = {"direct_path": self.get("directpath"), "url": url, "media_key": self.get("mediakey")}
        if (place["direct_path"] or url) is None or (place["media_key"] or sha256) is None:
            return {}
        return {**place, "file_sha256": sha256, "file_enc_sha256": self.get("fileencsha256", "encfilehash")}


class Addresses(NamedTuple):
    """Other addresses in an engine's record: of a chat with one person, of the recipient there, of a group's member."""

    chat: tuple[Any, ...]
    recipient: tuple[Any, ...]
    member: tuple[Any, ...]


def engine_addresses(data: Mapping[str, Any]) -> Addresses:
    """The addresses of a message in an engine's record: Baileys has them in `key`, whatsmeow in `Info`."""
    key, info = json_object(data.get("key")), json_object(data.get("Info"))
    pair = (key.get("remoteJid"), key.get("remoteJidAlt"), info.get("Chat"))
    return Addresses(
        chat=(*pair, key.get("senderPn"), info.get("SenderAlt"), info.get("Sender")),
        recipient=(*pair, info.get("RecipientAlt")),
        member=(key.get("participant"), key.get("participantAlt"), key.get("participantPn"), info.get("SenderAlt")),
    )


def engine_media(data: Mapping[str, Any], *, at_most: int) -> list[EngineMedia]:
    """The media that an engine's record names, also those that WAHA calls no media; at most so many."""
    types = (data.get("type"), json_object(data.get("Info")).get("MediaType"))
    kind = next((_TYPES[type_] for type_ in types if isinstance(type_, str) and type_ in _TYPES), None)
    nodes = media_nodes(json_object(data.get("message") or data.get("Message")), at_most=at_most)
    if not nodes:
        named = has_path_and_key(data) and not is_without_media(data.get("type"))
        return [EngineMedia(kind, _lower(data))] if kind or named else []
    if len(nodes) > 1:
        return [EngineMedia(node_kind(*node), _lower(node[1])) for node in nodes]
    (name, fields), own_size = nodes[0], data.get("size")
    fields = fields if is_empty(own_size) else {**fields, "size": own_size}
    return [EngineMedia(kind or node_kind(name, fields), _lower(fields))]


def _lower(fields: Mapping[str, Any]) -> dict[str, Any]:
    return {name.lower(): value for name, value in fields.items()}
