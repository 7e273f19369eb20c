"""GOWA (go-whatsapp-web-multidevice): signed events of one message each, with the file on GOWA's own server.

Versions before 8 send the message alone, without the name of a session. From version 8 on, it is the `payload` of an
`event`. The media are fields of the message, such as `image`: the path of the file that GOWA has downloaded, or an
object with the path or, without automatic downloads, with WhatsApp's URL.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from itertools import islice
from typing import Any, NamedTuple

from pipeline.config.settings import Settings
from pipeline.errors import Code
from pipeline.gateways.gowa.files import file_source
from pipeline.gateways.gowa.messages import Message, message_in
from pipeline.gateways.intake import (
    HookRequest,
    ParsedPayload,
    build_attachment,
    check_batch_size,
    declared_session,
    declared_size,
)
from pipeline.gateways.sources import is_whatsapp_url
from pipeline.gateways.verification import BodyCheck, hub_signature
from pipeline.models import Attachment, Fault, Kind
from pipeline.values.emptiness import first_present, is_empty
from pipeline.values.gateway_values import json_object, unix_seconds

KINDS: Mapping[str, Kind] = {
    "image": Kind.IMAGE,
    "video": Kind.VIDEO,
    "video_note": Kind.VIDEO,
    "audio": Kind.AUDIO,  # voice notes too: GOWA does not tell them from other sounds
    "document": Kind.DOCUMENT,
    "sticker": Kind.STICKER,
}
CARDS = "interactive_media"  # the paths of the pictures in a message with buttons or cards
WITHOUT_KEY = (
    "GOWA sent WhatsApp's URL without the key of the file: set WHATSAPP_AUTO_DOWNLOAD_MEDIA=true in GOWA's environment"
)

source = file_source


class Medium(NamedTuple):
    """One of the media of a message. `fields` have names in lower case without `_`."""

    kind: Kind | None
    fields: dict[str, Any]

    def get(self, *names: str) -> Any:
        """The first of these fields that is not empty."""
        return first_present(self.fields, *names)


def verify(request: HookRequest, settings: Settings) -> BodyCheck:
    """The check of `X-Hub-Signature-256`, an HMAC-SHA256 over the raw body with GOWA_WEBHOOK_SECRET.

    Raises:
        UnauthorizedError: it is missing or malformed, or GOWA_WEBHOOK_SECRET is not set.
    """
    return hub_signature("GOWA_WEBHOOK_SECRET").check(request, settings.gowa_webhook_secret)


def parse(payload: Any, settings: Settings) -> ParsedPayload:
    """The media of a message, also of one that the session has sent. Edits, receipts and other events are ignored.

    Raises:
        PayloadError: it has more than MAX_BATCH media.
    """
    message = message_in(payload)
    media = list(islice(_media(message.fields), settings.max_batch + 1)) if message else []
    check_batch_size(len(media), settings)
    if message is None or not media:
        return ParsedPayload(ignored=1)
    attachments = (_attachment(message, one, part=part, settings=settings) for part, one in enumerate(media))
    return ParsedPayload(tuple(attachments))


def _media(fields: Mapping[str, Any]) -> Iterator[Medium]:
    for name, kind in KINDS.items():
        if not is_empty(fields.get(name)):
            yield Medium(kind, _fields(fields[name]))
    cards = fields.get(CARDS)
    for card in cards if isinstance(cards, list) else [cards]:
        if not is_empty(card):
            yield Medium(None, _fields(card))


def _fields(value: Any) -> dict[str, Any]:
    if isinstance(value, str):
        return {"path": value}
    return {name.lower().replace("_", ""): field for name, field in json_object(value).items()}


def _attachment(message: Message, medium: Medium, *, part: int, settings: Settings) -> Attachment:
    path = medium.get("path", "mediapath")
    location = {"remote_id": path} if path else _location(medium)
    return build_attachment(
        {
            "gateway": "gowa",
            "session": declared_session(message.session, "device_id", settings),
            "message_id": message.id,
            "identity": message.identity,
            "from_me": message.own,
            "part": part,
            "kind": medium.kind,
            "mimetype": medium.get("mimetype"),
            "filename": medium.get("filename"),
            "size": declared_size(medium.get("filelength", "size")),
            "caption": medium.get("caption") or message.text,
            "chat": message.chat,
            "sender": message.sender,
            "chat_number": message.chat_number,
            "sender_number": message.sender_number,
            "timestamp": unix_seconds(message.timestamp) or message.timestamp,
            "fault": _fault(message, location, settings),
            **location,
        }
    )


def _location(medium: Medium) -> dict[str, Any]:
    """The fields of an attachment that is fetched from WhatsApp."""
    fields = {
        "url": medium.get("url"),
        "direct_path": medium.get("directpath"),
        "media_key": medium.get("mediakey"),
        "file_sha256": medium.get("filesha256"),
        "file_enc_sha256": medium.get("fileencsha256"),
    }
    return {name: value for name, value in fields.items() if value is not None}


def _fault(message: Message, location: Mapping[str, Any], settings: Settings) -> Fault | None:
    """Why the file cannot be fetched. In channels nothing is encrypted, and a file needs no key."""
    if "remote_id" in location:
        return None
    if not ("url" in location or "direct_path" in location):
        return Fault(code=Code.NO_SOURCE, message="GOWA sent neither the path nor the URL of the file")
    encrypted = "direct_path" in location or is_whatsapp_url(location["url"], settings)
    if encrypted and not (message.is_channel or "media_key" in location or "file_sha256" in location):
        return Fault(code=Code.NO_SOURCE, message=WITHOUT_KEY)
    return None
