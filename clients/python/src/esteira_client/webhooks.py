"""Verifies webhooks of Esteira, which are signed after Standard Webhooks."""

from __future__ import annotations

import base64
import binascii
import hmac
import json
import time
from collections.abc import Mapping, Sequence
from typing import Any

from esteira_client.errors import OptionError, WebhookError

TOLERANCE_S = 300.0


def verify(
    headers: Mapping[str, str], body: bytes | str, secret: str | Sequence[str], *, tolerance_s: float = TOLERANCE_S
) -> dict[str, Any]:
    """The event in a webhook. `body` is the body as it came, not JSON that was parsed and written again.

    `secret` is the WEBHOOK_SECRET (`whsec_…`). While a secret is rotated there are several, in a list or separated by
    commas. The webhook may be at most `tolerance_s` seconds old.

    Raises:
        WebhookError: `bad_signature`: it was not signed with this secret; `too_old`; `bad_body`.
        OptionError: the secret is not base64, or empty.
    """
    secrets = (one.strip() for one in (secret.split(",") if isinstance(secret, str) else secret))
    keys = [_key(one) for one in secrets if one]
    if not keys:
        raise OptionError("the secret of webhooks is missing")
    raw = body.encode() if isinstance(body, str) else bytes(body)
    head = {name.lower(): value for name, value in headers.items()}
    event_id, sent_at = head.get("webhook-id", ""), head.get("webhook-timestamp", "")
    signatures = head.get("webhook-signature", "").split()
    if not (event_id and sent_at and signatures):
        raise WebhookError("webhook-id, webhook-timestamp or webhook-signature is missing", code="bad_signature")
    content = f"{event_id}.{sent_at}.".encode() + raw
    if not any(_is_signed(content, key, signature) for key in keys for signature in signatures):
        raise WebhookError("the signature is not that of this body and secret", code="bad_signature")
    if not (sent_at.isascii() and sent_at.isdecimal() and abs(time.time() - int(sent_at)) <= tolerance_s):
        raise WebhookError(f"the webhook is older than {tolerance_s:g} s, or a clock is wrong", code="too_old")
    return _event(raw)


def _is_signed(content: bytes, key: bytes, signature: str) -> bool:
    expected = "v1," + base64.b64encode(hmac.digest(key, content, "sha256")).decode()
    return hmac.compare_digest(expected.encode(), signature.encode("utf-8", "surrogateescape"))


def _key(secret: str) -> bytes:
    text = secret.removeprefix("whsec_").rstrip("=")
    try:
        key = base64.b64decode(text + "=" * (-len(text) % 4), validate=True)
    except (binascii.Error, ValueError):
        raise OptionError("the secret of webhooks is whsec_ and base64") from None
    if not key:
        raise OptionError("the secret of webhooks is empty")
    return key


def _event(raw: bytes) -> dict[str, Any]:
    try:
        event = json.loads(raw)
    except ValueError:
        event = None
    if not isinstance(event, dict):
        raise WebhookError("the body is signed, and is not a JSON object", code="bad_body")
    return event
