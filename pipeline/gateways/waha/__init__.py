"""WAHA: signed events of one message each, with the file on WAHA's own server or in an S3 bucket that WAHA fills.

The host in a file's URL is `localhost` unless WAHA's WHATSAPP_API_HOSTNAME or WAHA_BASE_URL names another one.
WAHA_URL is the address of that server as it is reached from here.
"""

from __future__ import annotations

import time
from collections.abc import Mapping
from typing import Any

from pipeline.config.settings import Settings
from pipeline.errors import Code, PermanentError
from pipeline.gateways.intake import HookRequest, ParsedPayload, build_attachment, check_batch_size, declared_session
from pipeline.gateways.sources import Source, declared_source, own_server_url
from pipeline.gateways.verification import BodyCheck, BodySignature, UnauthorizedError
from pipeline.gateways.waha.engines import EngineMedia, engine_addresses, engine_media
from pipeline.http_client import HttpClient
from pipeline.models import Attachment, Fault, Kind
from pipeline.values.emptiness import first_present, is_empty
from pipeline.values.gateway_values import error_text, json_object, unix_seconds
from pipeline.values.message_ids import message_identity, phone_number

EVENTS = ("message", "message.any")
SIGNATURE = BodySignature("X-Webhook-Hmac", "WAHA_HMAC_KEY", "sha512")
# Seconds that a request's timestamp may be off. A retry has the timestamp of the first attempt, and WAHA's slowest
# retry policy (exponential, 15 attempts from 2 s, a fifth of jitter) ends after 44 hours. A refused retry would lose a
# file, while a replayed request only repeats an attachment.
WINDOW_S = 48 * 3600
MAX_STAMP_DIGITS = 15
FILES_PATH = "/api/"


def verify(request: HookRequest, settings: Settings) -> BodyCheck:
    """Checks `X-Webhook-Timestamp`. Returns the check of `X-Webhook-Hmac`, an HMAC-SHA512 over the raw body.

    The timestamp is not signed: it stops old requests that are repeated unchanged, not those with a new timestamp.

    Raises:
        UnauthorizedError: one of them is missing or malformed, the timestamp is old, or WAHA_HMAC_KEY is not set.
    """
    check_body = SIGNATURE.check(request, settings.waha_hmac_key)
    if request.header("x-webhook-hmac-algorithm").lower() not in {"", "sha512"}:
        raise UnauthorizedError("wrong signature: X-Webhook-Hmac-Algorithm must be sha512")
    stamp = request.header("x-webhook-timestamp")
    if not stamp:
        raise UnauthorizedError("X-Webhook-Timestamp is missing: WAHA sends it with the signature", reason="missing")
    if not (stamp.isascii() and stamp.isdigit() and len(stamp) <= MAX_STAMP_DIGITS):
        raise UnauthorizedError("X-Webhook-Timestamp is not a time in milliseconds")
    if abs(time.time() - int(stamp) / 1000) > WINDOW_S:
        raise UnauthorizedError("X-Webhook-Timestamp differs by more than two days from this server's clock")
    return check_body


def parse(payload: Any, settings: Settings) -> ParsedPayload:
    """The media of a `message` or `message.any` event; both events of a message are the same attachments.

    Raises:
        PayloadError: it has more than MAX_BATCH media.
    """
    event = json_object(payload)
    message = json_object(event.get("payload"))
    media = _media_of(message, settings) if event.get("event") in EVENTS else []
    attachments = [_attachment(event, message, one, part=part, settings=settings) for part, one in enumerate(media)]
    return ParsedPayload(tuple(attachments), int(not attachments))


def _media_of(message: Mapping[str, Any], settings: Settings) -> list[EngineMedia]:
    """The media of a message. WAHA says `hasMedia: false` of some that it does not know, which the engine's record has.

    Raises:
        PayloadError: there are more than MAX_BATCH.
    """
    in_record = engine_media(json_object(message.get("_data")), at_most=settings.max_batch + 1)
    check_batch_size(len(in_record), settings)
    media = json_object(message.get("media"))
    if not is_empty(media.get("url")):
        return in_record[:1] or [EngineMedia()]  # the one file that WAHA has downloaded
    named = message.get("hasMedia") or any(not is_empty(value) for value in media.values())
    return in_record or ([EngineMedia()] if named else [])


def _attachment(
    event: Mapping[str, Any], message: Mapping[str, Any], engine: EngineMedia, *, part: int, settings: Settings
) -> Attachment:
    media = json_object(message.get("media"))
    downloaded = not is_empty(media.get("url"))
    location = {"url": media["url"]} if downloaded else {} if media.get("error") else engine.location
    # In messages that the session has sent, WEBJS has the chat in `to`, other engines in `from`.
    own = bool(message.get("fromMe"))
    chat, me = (message.get("to"), json_object(event.get("me")).get("id")) if own else (None, None)
    return build_attachment(
        {
            "gateway": "waha",
            "session": declared_session(event.get("session"), "session", settings),
            "message_id": message.get("id"),
            "identity": message_identity(message.get("id"), chat=chat or message.get("from"), from_me=own),
            "part": part,
            "kind": engine.kind or _likely_kind(media),
            "mimetype": first_present(media, "mimetype") or engine.get("mimetype"),
            "filename": first_present(media, "filename") or engine.get("filename", "title", "name"),
            "size": engine.size,
            "caption": first_present(message, "body") or engine.get("caption"),
            "from_me": own,
            "chat": chat or message.get("from"),
            "sender": message.get("participant") or me or message.get("from"),
            **_numbers(message, chat=chat or message.get("from"), me=me),
            "timestamp": unix_seconds(message.get("timestamp")) or message.get("timestamp"),
            "expires_at": _expiry(event, message, settings) if downloaded else None,
            "fault": None if location else _fault(media),
            **location,
        }
    )


def _numbers(message: Mapping[str, Any], *, chat: Any, me: Any) -> dict[str, Any]:
    """The numbers of the chat and of the sender, as far as they are known. `me` has sent the message, if it is set."""
    addresses = engine_addresses(json_object(message.get("_data")))
    if member := message.get("participant"):
        return {"sender_number": phone_number(member, *addresses.member)}
    number = phone_number(chat, *(addresses.recipient if me else addresses.chat))
    return {"chat_number": number, "sender_number": phone_number(me) if me else number}


def _fault(media: Mapping[str, Any]) -> Fault:
    """Why the message has no file to download."""
    if error := media.get("error"):
        texts = [error_text(json_object(error).get(name)) for name in ("message", "details", "code")]
        reason = next(filter(None, [*texts, error_text(error)]), "no reason given")
        return Fault(code=Code.GATEWAY_ERROR, message=f"WAHA could not download the file: {reason}")
    return Fault(
        code=Code.NO_SOURCE, message="WAHA did not download the file; see its setting WAHA_EVENTS_DOWNLOAD_MEDIA"
    )


def _expiry(event: Mapping[str, Any], message: Mapping[str, Any], settings: Settings) -> int | None:
    """When WAHA deletes the file: its lifetime after the event, since WAHA saves the file just before the event."""
    if not settings.waha_files_lifetime_s or json_object(message.get("media")).get("s3"):
        return None
    saved_at = unix_seconds(event.get("timestamp")) or unix_seconds(message.get("timestamp"))
    return saved_at + settings.waha_files_lifetime_s if saved_at else None


def _likely_kind(media: Mapping[str, Any]) -> Kind | None:
    """The kind by name and type, or None if unclear. Only documents have names, and a WebP may be a sticker."""
    if media.get("filename"):
        return Kind.DOCUMENT
    mimetype = media.get("mimetype")
    family, _, rest = mimetype.lower().partition("/") if isinstance(mimetype, str) else ("", "", "")
    if rest.startswith(("webp", "ogg")):
        return None
    return {"image": Kind.IMAGE, "video": Kind.VIDEO, "audio": Kind.AUDIO}.get(family)


def source(attachment: Attachment, http_client: HttpClient, settings: Settings) -> Source:
    """The declared URL; on WAHA's own server with WAHA_API_KEY, and allowed at any address.

    Raises:
        PermanentError: `no_source`, `url_scheme` or `url_blocked`.
    """
    declared = declared_source(attachment, http_client, settings)
    if settings.waha_url and (url := own_server_url(declared.url, settings.waha_url, path=FILES_PATH)):
        key = settings.waha_api_key
        credentials = {"X-Api-Key": key.get_secret_value()} if key else {}
        return Source(url, credentials=credentials, trusted_url=settings.waha_url)
    try:
        http_client.check_url(declared.url)
    except PermanentError as error:
        if error.code == Code.URL_BLOCKED:
            remedy = "if this is WAHA's own server, set WAHA_URL to its address as reached from here"
            raise PermanentError(error.code, f"{error.message}; {remedy}") from None
        raise
    return declared
