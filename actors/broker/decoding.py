"""Decodes fetched messages and checks that an actor can process them; anything else becomes a dead letter."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

import dramatiq
from dramatiq.errors import DecodeError

from actors.delivery import Delivery, MessageArgs, PreviewJob
from actors.redis_queue.keys import PREVIEW_QUEUE
from actors.redis_queue.messages import FetchedMessage

STAGE_ARGS = frozenset(MessageArgs.__annotations__)
PREVIEW_ARGS = frozenset({"sha256", "type", "attempt"})  # see actors.redis_queue.preview_jobs
OPTIONS = frozenset({"key"})  # Dramatiq would obey other options, or fail on them

Decode = Callable[[FetchedMessage], Delivery | PreviewJob | None]


def decode_delivery(fetched: FetchedMessage) -> Delivery | None:
    """The delivery of an attachment; None if the message is malformed."""
    message = _decode(fetched)
    if message is None or not is_stage_message(message):
        return None
    # Dramatiq acknowledges by queue name: the message must name the queue that it was fetched from.
    if message.queue_name != fetched.queue:
        message = message.copy(queue_name=fetched.queue)
    return Delivery(
        message,
        key=fetched.key,
        delivery_id=fetched.delivery_id,
        queue=fetched.queue,
        crashes=fetched.crashes,
        session=fetched.session,
    )


def decode_preview_job(fetched: FetchedMessage) -> PreviewJob | None:
    """The preview job of a message from the preview queue; None if the message is malformed."""
    message = _decode(fetched)
    if message is None or not is_preview_message(message):
        return None
    return PreviewJob(
        message, key=fetched.key, delivery_id=fetched.delivery_id, queue=PREVIEW_QUEUE, crashes=fetched.crashes
    )


def is_stage_message(message: dramatiq.Message[Any]) -> bool:
    """Whether a message has the form that `delivery.stage_message` gives it."""
    args = message.kwargs
    return (
        isinstance(message.actor_name, str)
        and message.actor_name != PREVIEW_QUEUE  # which has a queue of its own
        and _has_known(message, STAGE_ARGS)
        and isinstance(args.get("media_id"), str)
        and isinstance(args.get("lost", 0), int)
        and isinstance(args.get("inputs", {}), dict)
        and isinstance(args.get("heir_of", ""), str)
        and isinstance(args.get("trail", {}), dict)
    )


def is_preview_message(message: dramatiq.Message[Any]) -> bool:
    """Whether a message has the form of a request for a preview."""
    args = message.kwargs
    return (
        message.actor_name == message.queue_name == PREVIEW_QUEUE
        and _has_known(message, PREVIEW_ARGS)
        and re.fullmatch(r"[0-9a-f]{64}", str(args.get("sha256"))) is not None
        and isinstance(args.get("type"), str)
    )


def _decode(fetched: FetchedMessage) -> dramatiq.Message[Any] | None:
    try:
        return dramatiq.Message.decode(fetched.data)
    except DecodeError:
        return None


def _has_known(message: dramatiq.Message[Any], names: frozenset[str]) -> bool:
    """Whether options and arguments are only those that are known, and the attempt is a number from 1."""
    args = message.kwargs
    return (
        isinstance(message.options, dict)
        and set(message.options) <= OPTIONS
        and not message.args
        and isinstance(args, dict)
        and set(args) <= names
        and isinstance(attempt := args.get("attempt", 1), int)
        and attempt >= 1
    )
