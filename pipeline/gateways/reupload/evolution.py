"""Asks Evolution API for a message's file: it downloads the file, or has the phone upload it, and answers in base64.

The request names the message by its key, as Evolution API's database has it. With the file's own key and path, which
the message has brought, it needs no database.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from typing import Any

from pipeline.config.settings import Settings
from pipeline.gateways.reupload.file_request import FileRequest, quoted
from pipeline.gateways.reupload.server import GatewayServer, Probe
from pipeline.models import Attachment, Kind
from pipeline.models.replacement_source import KEY_BYTES
from pipeline.values.gateway_values import decode_bytes
from pipeline.values.message_ids import is_person

NODES: Mapping[Kind, str] = {
    Kind.IMAGE: "imageMessage",
    Kind.STICKER: "stickerMessage",
    Kind.VIDEO: "videoMessage",
    Kind.AUDIO: "audioMessage",
    Kind.PTT: "audioMessage",
    Kind.DOCUMENT: "documentMessage",
}
# Every refusal is a 400 with the text of an error. These are of the connection to WhatsApp, and pass.
_LATER = (
    *("connection closed", "connection lost", "connection terminated", "connection failure"),
    *("timed out", "timedout", "rate-overlimit"),
)
# The second one follows from a message that its database does not have.
_UNKNOWN = ("message not found", "cannot read propert")
_SAVING = "it knows only messages that it saves: see DATABASE_SAVE_DATA_NEW_MESSAGE in its environment"


def server(_session: str, settings: Settings) -> GatewayServer | None:
    """The server of EVOLUTION_URL with EVOLUTION_API_KEY."""
    if not (settings.evolution_url and settings.evolution_api_key):
        return None
    return GatewayServer(
        "Evolution API",
        settings.evolution_url,
        "EVOLUTION_API_KEY",
        {"apikey": settings.evolution_api_key.get_secret_value()},
        later_words=_LATER,
        hints=[(part, _SAVING) for part in _UNKNOWN],
    )


def file(attachment: Attachment, request: FileRequest) -> AbstractContextManager[Iterator[bytes]]:
    """The file from `POST /chat/getBase64FromMediaMessage/{instance}`."""
    message: dict[str, Any] = {"key": _key(attachment)}
    if node := _node(attachment):
        message["message"] = node
    else:
        request.require_first_file(attachment)
    path = f"/chat/getBase64FromMediaMessage/{quoted(attachment.session)}"
    return request.base64_file("POST", path, {"message": message, "convertToMp4": False})


def probes(settings: Settings) -> Sequence[Probe]:
    """The list of instances, which needs the key."""
    found = server("", settings)
    return [Probe(found, "/instance/fetchInstances")] if found else []


def _key(attachment: Attachment) -> dict[str, Any]:
    key = {"remoteJid": attachment.chat, "fromMe": bool(attachment.from_me), "id": attachment.message_id}
    in_group = attachment.chat is not None and not is_person(attachment.chat)
    return {**key, "participant": attachment.sender} if in_group and attachment.sender else key


def _node(attachment: Attachment) -> dict[str, Any] | None:
    """The message's own node of the file, with what is needed to download and decrypt it; None if that is missing."""
    key = decode_bytes(attachment.media_key) if attachment.media_key else None
    if not (attachment.kind and attachment.direct_path and key and len(key) == KEY_BYTES):
        return None
    fields = {"mediaKey": list(key), "directPath": attachment.direct_path, "mimetype": attachment.mimetype}
    return {NODES[attachment.kind]: fields}
