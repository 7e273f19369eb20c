"""`verify` accepts what Esteira signed, and nothing else."""

from __future__ import annotations

import base64
import hmac
import json
import time
from typing import Any

import pytest

from esteira_client import OptionError, WebhookError, verify

SECRET = "whsec_" + base64.b64encode(b"k" * 32).decode()
OLD = "whsec_" + base64.b64encode(b"o" * 32).decode()
BODY = json.dumps({"type": "media.done", "caption": "São João"}).encode()


def signed(body: bytes = BODY, key: bytes = b"k" * 32, at: float | None = None) -> dict[str, str]:
    sent_at = str(int(at or time.time()))
    signature = base64.b64encode(hmac.digest(key, f"e1.{sent_at}.".encode() + body, "sha256")).decode()
    return {"Webhook-Id": "e1", "Webhook-Timestamp": sent_at, "Webhook-Signature": f"v1,{signature}"}


def test_verify_returns_the_event() -> None:
    assert verify(signed(), BODY, SECRET)["type"] == "media.done"
    assert verify(signed(), BODY.decode(), SECRET)["type"] == "media.done"


def test_verify_accepts_one_of_several_signatures_and_secrets() -> None:
    headers = signed()
    headers["Webhook-Signature"] = "v1,AAAA v2,BBBB " + headers["Webhook-Signature"]
    assert verify(headers, BODY, [OLD, SECRET])


@pytest.mark.parametrize(
    ("headers", "body"),
    [
        (signed(), BODY + b" "),
        (signed(key=b"x" * 32), BODY),
        (signed(at=time.time() - 400), BODY),
        (signed(at=time.time() + 400), BODY),
        (signed() | {"Webhook-Timestamp": "²"}, BODY),
        (signed() | {"Webhook-Id": "e2"}, BODY),
        (signed() | {"Webhook-Signature": "v1,é"}, BODY),
        ({}, BODY),
        (signed(b"[1]"), b"[1]"),
        (signed(b"{"), b"{"),
    ],
)
def test_verify_refuses_what_was_not_signed(headers: dict[str, str], body: bytes) -> None:
    with pytest.raises(WebhookError) as caught:
        verify(headers, body, SECRET)
    assert caught.value.code == "bad_signature"


@pytest.mark.parametrize("secret", ["", [], "whsec_", "whsec_not base64!"])
def test_verify_names_a_wrong_secret_without_repeating_it(secret: Any) -> None:
    with pytest.raises(OptionError) as caught:
        verify(signed(), BODY, secret)
    assert "not base64" not in str(caught.value)
