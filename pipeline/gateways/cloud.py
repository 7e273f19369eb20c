"""Meta's Cloud API: signed batches that name each file by an id. The Graph API makes a URL for five minutes of it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from pipeline.config.settings import Settings
from pipeline.errors import Code, RetryableError
from pipeline.gateways.graph import media_link
from pipeline.gateways.intake import HookRequest, ParsedPayload, build_attachment, check_batch
from pipeline.gateways.sources import Source, declared_source
from pipeline.gateways.verification import check_hmac, configured
from pipeline.http_client import HttpClient
from pipeline.models import Attachment, Fault, Kind
from pipeline.values.gateway_values import json_object, json_objects, said, seconds_in

KINDS = ("image", "video", "audio", "document", "sticker")
ID_LIFETIME_S = 7 * 24 * 3600  # of a media id in a webhook
MEDIA_ERROR = 131052  # "Media download error": Meta itself could not take the file, for its size for instance

_SCHEME = "sha256="


def verify(request: HookRequest, settings: Settings) -> None:
    """Checks `X-Hub-Signature-256`, `sha256=` and an HMAC-SHA256 of the raw body under CLOUD_APP_SECRET.

    Raises:
        UnauthorizedError: it is missing or wrong, or no secret is set.
    """
    key = configured(settings.cloud_app_secret, "CLOUD_APP_SECRET")
    signature = request.header("x-hub-signature-256")
    given = signature.removeprefix(_SCHEME) if signature.startswith(_SCHEME) else ""
    check_hmac(request.body, given, key=key, digest="sha256")


def parse(payload: Any, settings: Settings) -> ParsedPayload:
    """The attachments of all messages of all changes of all entries, also of those that the business itself has sent.

    Raises:
        PayloadError: it holds more messages than MAX_BATCH.
    """
    attachments: list[Attachment] = []
    ignored = count = 0
    for value in _values(payload):
        messages = [*json_objects(value.get("messages")), *json_objects(value.get("message_echoes"))]
        count += len(messages)
        check_batch(count, settings)
        found = [_attachment(value, message, name) for message in messages if (name := _media_in(message)) is not None]
        attachments += found
        others = len(json_objects(value.get("statuses"))) + len(json_objects(value.get("errors")))
        ignored += len(messages) - len(found) + others or int(not found)
    return ParsedPayload(tuple(attachments), ignored or int(not attachments))


def _values(payload: Any) -> Iterator[Mapping[str, Any]]:
    for entry in json_objects(json_object(payload).get("entry")):
        for change in json_objects(entry.get("changes")):
            yield json_object(change.get("value"))


def _media_in(message: Mapping[str, Any]) -> str | None:
    """The name of what a message carries, empty for media that Meta did not take, None if it carries none."""
    if message.get("type") in KINDS:
        return str(message["type"])
    if name := next((name for name in KINDS if isinstance(message.get(name), dict)), None):
        return name
    errors = json_objects(message.get("errors"))
    lost = errors and json_object(message.get("unsupported")).get("type") in KINDS
    return "" if lost or any(error.get("code") == MEDIA_ERROR for error in errors) else None


def _attachment(value: Mapping[str, Any], message: Mapping[str, Any], name: str) -> Attachment:
    node = json_object(message.get(name))
    contacts = json_objects(value.get("contacts"))
    contact = contacts[0] if len(contacts) == 1 else {}
    # People with a username may show no number, only an id that is made for this business.
    sender = _first(message, "from", "from_user_id", "user_id") or _first(contact, "user_id", "wa_id")
    sent_at = seconds_in(message.get("timestamp"))
    return build_attachment(
        {
            "gateway": "cloud",
            "session": json_object(value.get("metadata")).get("phone_number_id"),
            "message_id": message.get("id"),
            "remote_id": node.get("id"),
            "kind": Kind.PTT if name == "audio" and node.get("voice") is True else name or None,
            "mimetype": node.get("mime_type"),
            "filename": node.get("filename"),
            "file_sha256": node.get("sha256"),
            "caption": node.get("caption"),
            "chat": _first(message, "group_id", "to", "to_user_id") or sender,
            "sender": sender,
            "timestamp": sent_at or message.get("timestamp"),
            "expires_at": sent_at + ID_LIFETIME_S if sent_at else None,
            "fault": _fault(message, node),
        }
    )


def _fault(message: Mapping[str, Any], node: Mapping[str, Any]) -> Fault | None:
    if errors := json_objects(message.get("errors")):
        words = [said(errors[0].get("code")), said(errors[0].get("title") or errors[0].get("message"))]
        return Fault(code=Code.GATEWAY_ERROR, message=f"Meta could not take the file: {' '.join(filter(None, words))}")
    return None if node.get("id") else Fault(code=Code.NO_SOURCE, message="the message names no media id")


def source(attachment: Attachment, http_client: HttpClient, settings: Settings) -> Source:
    """The URL that the Graph API makes for a media id, with the number's token; one that a replay gave as it stands.

    Raises:
        PermanentError: `no_source`, and what `media_link` says.
        RetryableError: `fetch_unauthorized`, if the number has no token, and what `media_link` says.
    """
    if attachment.remote_id is None or attachment.url or attachment.direct_path:
        return declared_source(attachment, http_client, settings)
    # To be tried again, for a setting is missing, and nothing is wrong with the file.
    if not (token := settings.cloud_token(attachment.session)):
        missing = "no access token is set for this phone number: set CLOUD_ACCESS_TOKEN or CLOUD_ACCESS_TOKENS"
        raise RetryableError(Code.FETCH_UNAUTHORIZED, missing)
    credentials = {"Authorization": f"Bearer {token}"}
    return Source(media_link(attachment.remote_id, credentials, http_client, settings), credentials=credentials)


def _first(fields: Mapping[str, Any], *names: str) -> Any:
    return next((value for name in names if (value := fields.get(name))), None)
