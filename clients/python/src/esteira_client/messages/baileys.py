"""The form of Baileys, as JSON. The hook of Evolution API takes it: it runs Baileys."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from esteira_client.errors import MessageError
from esteira_client.messages.hand_over import HandOver, Message, WithoutMedia
from esteira_client.messages.ids import attachment_id

PATH = "/hooks/evolution"
FIELDS = ("key", "message", "messageTimestamp", "participant", "messageType", "base64")
# Contents that have no file. Every other content goes to the server, which knows all wrappers.
WITHOUT_MEDIA = frozenset(
    {
        "conversation",
        "extendedTextMessage",
        "messageContextInfo",
        "protocolMessage",
        "reactionMessage",
        "senderKeyDistributionMessage",
    }
)


def matches(message: Message) -> bool:
    key = message.get("key")
    return isinstance(key, Mapping) and ("remoteJid" in key or "message" in message)


def hand_over(message: Message, session: str) -> HandOver | WithoutMedia:
    """The request for a message.

    Raises:
        MessageError: it has no id.
    """
    key = message.get("key")
    message_id = key.get("id") if isinstance(key, Mapping) else None
    if not (isinstance(message_id, str) and message_id):
        raise MessageError("the message has no key.id")
    if not (_has_media(message.get("message")) or message.get("base64")):
        return WithoutMedia(message_id)
    data = {name: message[name] for name in FIELDS if message.get(name) is not None}
    body = {"event": "messages.upsert", "instance": session, "data": data}
    return HandOver(PATH, body, attachment_id("evolution", session, message_id), message_id)


def _has_media(content: Any) -> bool:
    if not isinstance(content, Mapping):  # a stub, or a message that could not be decrypted
        return False
    return any(value is not None and name not in WITHOUT_MEDIA for name, value in content.items())
