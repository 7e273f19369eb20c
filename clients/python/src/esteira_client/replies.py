"""Reads the server's answers: the table *Answers* of clients/README.md."""

from __future__ import annotations

import json
import time
from collections.abc import Mapping
from email.utils import parsedate_to_datetime
from typing import Any

from esteira_client.errors import REFUSALS, EsteiraError, RefusedError, UnavailableError
from esteira_client.messages import HandOver
from esteira_client.receipts import AcceptedAttachment, Receipt

NOT_NOW = frozenset({408, 425, 429})
MAX_RETRY_AFTER_S = 600.0
MAX_REPLY_BYTES = 16_000_000  # of an answer that is JSON


def receipt_of(reply: Any, status: int, sent: HandOver) -> Receipt:
    """The receipt for an answer 2xx.

    Raises:
        UnavailableError: `bad_reply`: it has no `accepted`, so it is not an answer of Esteira.
    """
    accepted = reply.get("accepted") if isinstance(reply, dict) else None
    if not isinstance(accepted, list) or not all(isinstance(item, dict) and item.get("id") for item in accepted):
        raise bad_reply(status)
    attachments = tuple(
        AcceptedAttachment(str(item["id"]), item.get("message_id"), item.get("status")) for item in accepted
    )
    if not attachments:
        return ignored_receipt(sent.message_id)
    first = attachments[0]
    return Receipt("accepted", first.id, sent.message_id, first.status, attachments)


def spooled_receipt(sent: HandOver, reason: str) -> Receipt:
    """The receipt for a hand-over that is in the spool."""
    known = AcceptedAttachment(sent.id, sent.message_id, None)
    return Receipt("spooled", sent.id, sent.message_id, None, (known,), reason)


def fallback_receipt(sent: HandOver, reason: str, result: Any) -> Receipt:
    """The receipt for a message that the fallback function has processed."""
    known = AcceptedAttachment(sent.id, sent.message_id, None)
    return Receipt("fallback", sent.id, sent.message_id, None, (known,), reason, result)


def ignored_receipt(message_id: str) -> Receipt:
    """The receipt for a message without media."""
    return Receipt("ignored", None, message_id)


def json_of(status: int, headers: Mapping[str, str], content: bytes) -> Any:
    """The JSON of an answer 2xx.

    Raises:
        UnavailableError, RefusedError: for every other answer, see `error_of`.
    """
    if not 200 <= status < 300:
        raise error_of(status, headers, content)
    try:
        return json.loads(content)
    except (ValueError, RecursionError):
        raise bad_reply(status) from None


def error_of(status: int, headers: Mapping[str, str], content: bytes) -> EsteiraError:
    """The error for an answer other than 2xx."""
    code, message = _error_body(content)
    if status in NOT_NOW or status >= 500 or (status == 404 and code is None):
        wait = retry_after_s(headers.get("retry-after"))
        text = message or f"the server answers {status}"
        return UnavailableError(text, code=code or "bad_reply", status=status, retry_after=wait)
    if 300 <= status < 400:
        return RefusedError("the server redirects: correct the URL", code="redirected", status=status)
    kind = REFUSALS.get(status, RefusedError)
    return kind(message or f"the server answers {status}", code=code or "bad_reply", status=status)


def bad_reply(status: int) -> UnavailableError:
    """The error for an answer 2xx that is not one of Esteira's."""
    return UnavailableError("the answer is not one of Esteira's: check the URL", code="bad_reply", status=status)


def retry_after_s(value: str | None) -> float | None:
    """The seconds of a Retry-After, which may also be a date, at most MAX_RETRY_AFTER_S; None if there are none."""
    if not value:
        return None
    if value.isascii() and value.isdecimal():
        return min(float(value), MAX_RETRY_AFTER_S)
    try:
        until = parsedate_to_datetime(value).timestamp()
    except (ValueError, OverflowError):
        return None
    return min(max(until - time.time(), 0.0), MAX_RETRY_AFTER_S)


def _error_body(content: bytes) -> tuple[str | None, str | None]:
    try:
        error = json.loads(content)["error"]
        return str(error["code"]), str(error["message"])
    except (ValueError, TypeError, LookupError, RecursionError):
        return None, None
