"""Evolution API v2: WhatsApp's own messages as JSON, as Baileys decodes them, and copies that the server may add."""

from __future__ import annotations

import importlib
import time
from collections.abc import Mapping, Sequence
from typing import Any

from pydantic import SecretStr

from pipeline.config.settings import Settings
from pipeline.gateways.intake import (
    ONE_IGNORED,
    HookRequest,
    ParsedPayload,
    build_attachment,
    check_batch_size,
    declared_session,
    declared_size,
)
from pipeline.gateways.message_content import KINDS, MediaNode, media_nodes, node_kind
from pipeline.gateways.sources import declared_source, media_location
from pipeline.gateways.verification import (
    BEARER,
    WEBHOOK_SECRET_HEADER,
    MissingSecretError,
    NoSecretError,
    UnauthorizedError,
    WrongSecretError,
    bearer_token,
    constant_time_equal,
)
from pipeline.models import Attachment
from pipeline.values.emptiness import first_present
from pipeline.values.gateway_values import json_object, none_if_empty
from pipeline.values.message_ids import phone_number

EVENTS = frozenset({"messages.upsert", "send.message"})
HISTORY_EVENTS = frozenset({"messages.set", "messaging.history.set"})  # old messages, after a phone was connected
LEEWAY_S = 60  # seconds by which the two servers' clocks may differ
MAX_AGE_S = 600  # of a token since it was issued, whatever its expiry: Evolution API signs one for each webhook

DOTS_OF_JWT = 2

source = declared_source


def verify(request: HookRequest, settings: Settings) -> None:
    """Checks a Bearer JWT signed with EVOLUTION_JWT_KEY, or EVOLUTION_SECRET as Bearer token or X-Webhook-Secret.

    The last part of the path is not a secret here: with webhookByEvents it is the name of the event.

    Raises:
        UnauthorizedError: the request carries neither, or neither is set here.
    """
    key, secret = settings.evolution_jwt_key, settings.evolution_secret
    if not (key or secret):
        raise NoSecretError("EVOLUTION_JWT_KEY or EVOLUTION_SECRET")
    token = bearer_token(request.header("authorization"))
    sent = {BEARER: token, WEBHOOK_SECRET_HEADER: request.header(WEBHOOK_SECRET_HEADER)}
    given = {place: value for place, value in sent.items() if value}
    if secret and any(constant_time_equal(value, secret.get_secret_value()) for value in given.values()):
        return
    expected = " or ".join(
        text
        for text, value in (("the EVOLUTION_SECRET", secret), ("a JWT signed with EVOLUTION_JWT_KEY", key))
        if value
    )
    if not given:
        raise MissingSecretError(expected, sent if secret else (BEARER,))
    if not (key and token.count(".") == DOTS_OF_JWT):
        raise WrongSecretError(expected, given)
    _check_jwt(token, key)


def _check_jwt(token: str, key: SecretStr) -> None:
    # Imported only if a key is set: the import loads all of X.509 and takes 20 ms.
    jwt = importlib.import_module("jwt")
    try:
        claims = jwt.decode(
            token,
            key.get_secret_value(),
            algorithms=["HS256"],
            leeway=LEEWAY_S,
            options={"require": ["exp", "iat"]},
        )
    except (jwt.ExpiredSignatureError, jwt.ImmatureSignatureError):
        raise UnauthorizedError(f"wrong JWT in {BEARER}: it has expired, or a clock is wrong") from None
    except (jwt.PyJWTError, ValueError, OverflowError):  # the token cannot be encoded, or a time is no number
        raise UnauthorizedError(f"wrong JWT in {BEARER}: it was not signed with the EVOLUTION_JWT_KEY") from None
    if not time.time() - float(claims["iat"]) <= MAX_AGE_S + LEEWAY_S:
        raise UnauthorizedError(f"wrong JWT in {BEARER}: it is older than {MAX_AGE_S} s, or a clock is wrong")


def parse(payload: Any, settings: Settings) -> ParsedPayload:
    """The media of every message in an event, including those that the session has sent, and of old messages.

    Raises:
        PayloadError: it has more than MAX_BATCH messages or media, or more than MAX_HISTORY old ones.
    """
    event = _event(payload) if isinstance(payload, dict) else ""
    if event not in EVENTS | HISTORY_EVENTS:
        return ParsedPayload(ignored=1)
    history = event in HISTORY_EVENTS
    messages = _messages(payload.get("data"))
    check_batch_size(len(messages), settings, history=history)
    attachments: list[Attachment] = []
    ignored = 0
    for message in messages:
        nodes = _named_media(json_object(message), settings.max_batch + 1)
        ignored += not nodes
        check_batch_size(len(attachments) + len(nodes), settings, history=history)
        attachments += [
            _attachment(payload, message, *node, part=part, settings=settings) for part, node in enumerate(nodes)
        ]
    return ParsedPayload(tuple(attachments), ignored)


def _event(payload: dict[str, Any]) -> str:
    event = payload.get("event")
    return event.lower().replace("_", ".").replace("-", ".") if isinstance(event, str) else ""


def _messages(data: Any) -> Sequence[Any]:
    if isinstance(data, dict) and "messages" in data:
        data = data["messages"]
    return (data or ONE_IGNORED) if isinstance(data, list) else [data]


def _named_media(message: Mapping[str, Any], at_most: int) -> list[MediaNode]:
    """The media of a message; without its nodes, those that its type or a copy of the file names."""
    content = message.get("message")
    if nodes := media_nodes(content, at_most=at_most):
        return nodes
    name = message.get("messageType")
    if isinstance(name, str) and name in KINDS:
        return [(name, {})]
    copy = first_present(json_object(content), "base64", "mediaUrl") or first_present(message, "base64")
    return [("", {})] if copy else []


def _attachment(
    payload: dict[str, Any], message: Any, name: str, media: dict[str, Any], *, part: int, settings: Settings
) -> Attachment:
    content, instance = json_object(message.get("message")), payload.get("instance")
    session = first_present(json_object(instance), "instanceName") or instance
    key = json_object(message.get("key"))
    # The server's own copy is one file next to the message: that of its first part.
    copy = (
        (first_present(content, "base64") or message.get("base64"), content.get("mediaUrl"))
        if part == 0
        else (None, None)
    )
    return build_attachment(
        {
            "gateway": "evolution",
            "session": declared_session(session, "instance", settings),
            "message_id": key.get("id"),
            "part": part,
            "from_history": _event(payload) in HISTORY_EVENTS,
            "from_me": key.get("fromMe") is True,
            "chat": key.get("remoteJid"),
            "sender": _sender(payload, message, key),
            **_numbers(payload, message, key),
            "kind": node_kind(name, media) if name else None,
            "mimetype": first_present(media, "mimetype", "mime_type"),
            "filename": first_present(media, "fileName", "filename", "title", "name"),
            "caption": media.get("caption"),
            "size": declared_size(media.get("fileLength")),
            "timestamp": message.get("messageTimestamp"),
            "file_sha256": first_present(media, "fileSha256", "sha256"),
            "file_enc_sha256": none_if_empty(media.get("fileEncSha256")),
            "data": copy[0],
            **media_location(
                direct_path=media.get("directPath"),
                url=media.get("url"),
                media_key=media.get("mediaKey"),
                copy=copy[1],
            ),
        }
    )


def _numbers(payload: dict[str, Any], message: dict[str, Any], key: dict[str, Any]) -> dict[str, Any]:
    """The numbers of the chat and of the sender, which may be addressed by a LID."""
    own = key.get("fromMe") is True
    chat = phone_number(key.get("remoteJid"), key.get("remoteJidAlt"), None if own else key.get("senderPn"))
    if member := key.get("participant") or message.get("participant"):
        alternatives = (key.get("participantAlt"), key.get("participantPn"), key.get("senderPn"))
        return {"sender_number": phone_number(member, *alternatives)}
    return {"chat_number": chat, "sender_number": phone_number(payload.get("sender")) if own else chat}


def _sender(payload: dict[str, Any], message: dict[str, Any], key: dict[str, Any]) -> Any:
    if member := key.get("participant") or message.get("participant"):
        return member
    return payload.get("sender") if key.get("fromMe") is True else key.get("remoteJid")
