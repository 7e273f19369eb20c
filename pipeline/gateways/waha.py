"""WAHA: each message by itself, signed, with its file on WAHA's own server or in the S3 that WAHA fills.

WAHA writes its own name into the file's URL, and unless WHATSAPP_API_HOSTNAME or WAHA_BASE_URL tells it one, that is
`localhost`: WAHA_URL says where it stands from here.
"""

from __future__ import annotations

import time
from collections.abc import Mapping
from typing import Any

from pipeline.config.gateways import LOOPBACK_HOSTS
from pipeline.config.settings import Settings
from pipeline.errors import Code, PermanentError
from pipeline.gateways.intake import HookRequest, ParsedPayload, build_attachment
from pipeline.gateways.sources import Source, declared_source
from pipeline.gateways.verification import UnauthorizedError, check_hmac, configured
from pipeline.gateways.waha_engines import engine_says
from pipeline.http_client import HttpClient
from pipeline.http_client.ssrf_guard import parse_url
from pipeline.models import Attachment, Fault, Kind
from pipeline.values.gateway_values import json_object, said, seconds_in

EVENTS = ("message", "message.any")
# A repeat keeps the time of the first try, and the slowest policy with WAHA's own numbers (exponential, 15 attempts
# from 2 s, a fifth of jitter) ends after 44 hours. A refused repeat is a lost file, a replayed one the same attachment.
WINDOW_S = 48 * 3600
MAX_STAMP_DIGITS = 15
OWN_HOSTS = LOOPBACK_HOSTS | {"0.0.0.0"}  # noqa: S104  nothing is bound to it: WAHA may call itself so


def verify(request: HookRequest, settings: Settings) -> None:
    """Checks `X-Webhook-Hmac`, an HMAC-SHA512 of the raw body under WAHA_HMAC_KEY, and `X-Webhook-Timestamp`.

    The time is not signed: it turns away what is merely sent once more, not whoever writes a new time to it.

    Raises:
        UnauthorizedError: one of them is missing or wrong, or no key is set.
    """
    key = configured(settings.waha_hmac_key, "WAHA_HMAC_KEY")
    if request.header("x-webhook-hmac-algorithm").lower() not in {"", "sha512"}:
        raise UnauthorizedError("the signature is to be an HMAC-SHA512")
    check_hmac(request.body, request.header("x-webhook-hmac"), key=key, digest="sha512")
    stamp = request.header("x-webhook-timestamp")
    if not (stamp.isascii() and stamp.isdigit() and len(stamp) <= MAX_STAMP_DIGITS):
        raise UnauthorizedError("X-Webhook-Timestamp is missing or no time in milliseconds")
    if abs(time.time() - int(stamp) / 1000) > WINDOW_S:
        raise UnauthorizedError("X-Webhook-Timestamp is more than two days from this server's clock")


def parse(payload: Any, settings: Settings) -> ParsedPayload:
    """The attachment of a `message` or `message.any` event; both tell of the same one. Raises nothing."""
    event = json_object(payload)
    message = json_object(event.get("payload"))
    if event.get("event") not in EVENTS or not (
        message.get("hasMedia") or json_object(message.get("media")).get("url")
    ):
        return ParsedPayload(ignored=1)
    return ParsedPayload((_attachment(event, message, settings),))


def _attachment(event: Mapping[str, Any], message: Mapping[str, Any], settings: Settings) -> Attachment:
    media = json_object(message.get("media"))
    kind, size = engine_says(json_object(message.get("_data")))
    # Of what the session itself has sent, WEBJS names the chat in `to`, other engines in `from` as ever.
    chat, me = (message.get("to"), json_object(event.get("me")).get("id")) if message.get("fromMe") else (None, None)
    return build_attachment(
        {
            "gateway": "waha",
            "session": event.get("session"),
            "message_id": message.get("id"),
            "url": media.get("url"),
            "kind": kind or _likely_kind(media),
            "mimetype": media.get("mimetype"),
            "filename": media.get("filename"),
            "size": size,
            "caption": message.get("body"),
            "chat": chat or message.get("from"),
            "sender": message.get("participant") or me or message.get("from"),
            "timestamp": seconds_in(message.get("timestamp")) or message.get("timestamp"),
            "expires_at": _expiry(event, message, settings),
            "fault": _fault(media),
        }
    )


def _fault(media: Mapping[str, Any]) -> Fault | None:
    """Why there is nothing to fetch, if so."""
    if media.get("url"):
        return None
    if error := media.get("error"):
        words = [said(json_object(error).get(name)) for name in ("message", "details", "code")] + [said(error)]
        reason = next(filter(None, words), "it does not say why")
        return Fault(code=Code.GATEWAY_ERROR, message=f"WAHA could not download the file: {reason}")
    return Fault(code=Code.NO_SOURCE, message="WAHA did not download the file: its WAHA_EVENTS_DOWNLOAD_MEDIA decides")


def _expiry(event: Mapping[str, Any], message: Mapping[str, Any], settings: Settings) -> int | None:
    """When WAHA deletes the file, counted from the event: it has saved the file just before."""
    if not settings.waha_files_lifetime_s or json_object(message.get("media")).get("s3"):
        return None
    saved_at = seconds_in(event.get("timestamp")) or seconds_in(message.get("timestamp"))
    return saved_at + settings.waha_files_lifetime_s if saved_at else None


def _likely_kind(media: Mapping[str, Any]) -> Kind | None:
    """The kind by name and type, where they tell. Only documents have names, and a WebP may be a sticker."""
    if media.get("filename"):
        return Kind.DOCUMENT
    mimetype = media.get("mimetype")
    family, _, rest = mimetype.lower().partition("/") if isinstance(mimetype, str) else ("", "", "")
    if rest.startswith(("webp", "ogg")):
        return None
    return {"image": Kind.IMAGE, "video": Kind.VIDEO, "audio": Kind.AUDIO}.get(family)


def source(attachment: Attachment, http_client: HttpClient, settings: Settings) -> Source:
    """The URL; where that is on WAHA's own server, with WAHA_API_KEY and wherever that server stands.

    Raises:
        PermanentError: `no_source`, `url_scheme` or `url_blocked`.
    """
    declared = declared_source(attachment, http_client, settings)
    if settings.waha_url and (url := _own_url(declared.url, settings.waha_url)):
        key = settings.waha_api_key
        return Source(url, credentials={"X-Api-Key": key.get_secret_value()} if key else {}, trusted=settings.waha_url)
    try:
        http_client.check_url(declared.url)
    except PermanentError as error:
        if error.code == Code.URL_BLOCKED:
            remedy = "if it is WAHA's own server, set WAHA_URL to how it is reached from here"
            raise PermanentError(error.code, f"{error.message}; {remedy}") from None
        raise
    return declared


def _own_url(url: str, waha_url: str) -> str | None:
    """The URL as it leads to WAHA from here, or None if it leads elsewhere."""
    target = parse_url(url)
    if target.origin == parse_url(waha_url).origin:
        return url
    # An S3 of the same machine is called `localhost` as well, but has no such path.
    if target.host in OWN_HOSTS and target.path.startswith("/api/"):
        return waha_url + target.path
    return None
