"""Meta's Cloud API: signed batches of messages with media ids, which the Graph API turns into URLs for five minutes."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from itertools import islice
from typing import Any

from pipeline.config.settings import Settings
from pipeline.errors import Code, RetryableError
from pipeline.gateways.cloud.graph import media_link
from pipeline.gateways.cloud.media import Medium, message_media
from pipeline.gateways.intake import HookRequest, ParsedPayload, build_attachment, check_batch_size, declared_session
from pipeline.gateways.sources import Source, declared_source
from pipeline.gateways.verification import BodyCheck, hub_signature
from pipeline.http_client import HttpClient
from pipeline.models import Attachment, Fault, Kind
from pipeline.values.emptiness import first_present, is_empty
from pipeline.values.gateway_values import error_text, json_object, json_objects, unix_seconds

SIGNATURE = hub_signature("CLOUD_APP_SECRET")
HISTORY_FIELD = "history"  # of the changes that hold old messages
ID_LIFETIME_S = 7 * 24 * 3600  # seconds that a media id in a webhook is valid


def verify(request: HookRequest, settings: Settings) -> BodyCheck:
    """The check of `X-Hub-Signature-256`, an HMAC-SHA256 over the raw body with CLOUD_APP_SECRET.

    Raises:
        UnauthorizedError: it is missing or malformed, or CLOUD_APP_SECRET is not set.
    """
    return SIGNATURE.check(request, settings.cloud_app_secret)


def parse(payload: Any, settings: Settings) -> ParsedPayload:
    """The attachments in every message of every change of every entry, including those that the business has sent.

    Raises:
        PayloadError: it has more than MAX_BATCH messages, or more than MAX_HISTORY old ones.
    """
    attachments: list[Attachment] = []
    ignored = count = 0
    for change in _changes(payload):
        value, history = json_object(change.get("value")), change.get("field") == HISTORY_FIELD
        echoes = ({**message, "from_me": True} for message in json_objects(value.get("message_echoes")))
        messages = [*json_objects(value.get("messages")), *echoes, *_old_messages(value)]
        count += len(messages)
        check_batch_size(count, settings, history=history)
        media = [list(islice(message_media(message), settings.max_batch + 1)) for message in messages]
        check_batch_size(len(attachments) + sum(map(len, media)), settings, history=history)
        attachments += [
            _attachment(change, message, medium, part=part, settings=settings)
            for message, of_message in zip(messages, media, strict=True)
            for part, medium in enumerate(of_message)
        ]
        others = len(json_objects(value.get("statuses"))) + len(json_objects(value.get("errors")))
        ignored += others + media.count([]) or int(not any(media))
    return ParsedPayload(tuple(attachments), ignored or int(not attachments))


def _changes(payload: Any) -> Iterator[Mapping[str, Any]]:
    for entry in json_objects(json_object(payload).get("entry")):
        yield from json_objects(entry.get("changes"))


def _old_messages(value: Mapping[str, Any]) -> list[dict[str, Any]]:
    """The messages of the chats that a number brings along when it is connected; most of their media come later."""
    chats = (chat for chunk in json_objects(value.get("history")) for chat in json_objects(chunk.get("threads")))
    return [message for chat in chats for message in json_objects(chat.get("messages"))]


def _attachment(
    change: Mapping[str, Any], message: Mapping[str, Any], medium: Medium, *, part: int, settings: Settings
) -> Attachment:
    name, node = medium
    value = json_object(change.get("value"))
    contacts = json_objects(value.get("contacts"))
    contact = contacts[0] if len(contacts) == 1 else {}
    # Users with a username may hide their number: then there is only an id that is valid for this business.
    sender = first_present(message, "from", "from_user_id", "user_id") or first_present(contact, "user_id", "wa_id")
    sent_at = unix_seconds(message.get("timestamp"))
    return build_attachment(
        {
            "gateway": "cloud",
            "session": declared_session(
                json_object(value.get("metadata")).get("phone_number_id"), "phone_number_id", settings
            ),
            "message_id": message.get("id"),
            "part": part,
            "from_history": change.get("field") == HISTORY_FIELD or not is_empty(message.get("history_context")),
            "remote_id": node.get("id"),
            "url": node.get("link") if is_empty(node.get("id")) else None,
            "kind": Kind.PTT if name == "audio" and node.get("voice") is True else name or None,
            "mimetype": node.get("mime_type"),
            "filename": node.get("filename"),
            "file_sha256": node.get("sha256"),
            "caption": node.get("caption"),
            "chat": first_present(message, "group_id", "to", "to_user_id") or sender,
            "sender": sender,
            "from_me": message.get("from_me") is True or None,
            "chat_number": None if message.get("group_id") else _number(first_present(message, "to") or sender),
            "sender_number": _number(sender),
            "timestamp": sent_at or message.get("timestamp"),
            "expires_at": sent_at + ID_LIFETIME_S if sent_at else None,
            "fault": _fault(message, node),
        }
    )


def _number(user: Any) -> str | None:
    """A user as a phone number: the Cloud API sends its digits, or an id of another form if it is hidden."""
    return user if isinstance(user, str) and user.isascii() and user.isdigit() else None


def _fault(message: Mapping[str, Any], node: Mapping[str, Any]) -> Fault | None:
    if errors := json_objects(message.get("errors")):
        reason = [error_text(errors[0].get("code")), error_text(errors[0].get("title") or errors[0].get("message"))]
        text = f"Meta could not download the file: {' '.join(filter(None, reason))}"
        return Fault(code=Code.GATEWAY_ERROR, message=text)
    if first_present(node, "id", "link") is not None:
        return None
    return Fault(code=Code.NO_SOURCE, message="the message has no media id")


def source(attachment: Attachment, http_client: HttpClient, settings: Settings) -> Source:
    """The URL that the Graph API returns for a media id, with the number's token; a replay's own URL takes precedence.

    Raises:
        PermanentError: `no_source`, and those of `media_link`.
        RetryableError: `fetch_unauthorized`, if the number has no token, and those of `media_link`.
    """
    if attachment.remote_id is None or attachment.url or attachment.direct_path:
        return declared_source(attachment, http_client, settings)
    # Retryable: a setting is missing, and nothing is wrong with the file.
    if not (token := settings.cloud_token(attachment.session)):
        missing = "no access token is set for this phone number: set CLOUD_ACCESS_TOKEN or CLOUD_ACCESS_TOKENS"
        raise RetryableError(Code.FETCH_UNAUTHORIZED, missing)
    credentials = {"Authorization": f"Bearer {token}"}
    return Source(media_link(attachment.remote_id, credentials, http_client, settings), credentials=credentials)
