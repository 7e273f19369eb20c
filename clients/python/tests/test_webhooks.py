"""`verify` accepts what Esteira signed, and nothing else."""

from __future__ import annotations

import base64
import hmac
import json
import time
from collections.abc import Callable
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
    assert verify(headers, BODY, f"{OLD}, {SECRET}"), "the setting, with two secrets"
    assert verify(headers, BODY, SECRET.rstrip("=")), "the server takes it without padding too"


@pytest.mark.parametrize(
    ("sign", "body", "code"),
    [
        (signed, BODY + b" ", "bad_signature"),
        (lambda: signed(key=b"x" * 32), BODY, "bad_signature"),
        (lambda: signed(at=time.time() - 400), BODY, "too_old"),
        (lambda: signed(at=time.time() + 400), BODY, "too_old"),
        (lambda: signed() | {"Webhook-Timestamp": "²"}, BODY, "bad_signature"),
        (lambda: signed() | {"Webhook-Id": "e2"}, BODY, "bad_signature"),
        (lambda: signed() | {"Webhook-Signature": "v1,é"}, BODY, "bad_signature"),
        (dict, BODY, "bad_signature"),
        (lambda: signed(b"[1]"), b"[1]", "bad_body"),
        (lambda: signed(b"{"), b"{", "bad_body"),
    ],
)
def test_verify_refuses_what_was_not_signed(sign: Callable[[], dict[str, str]], body: bytes, code: str) -> None:
    headers = sign()  # now: a signature of the collection is too old once the suite has run for five minutes
    with pytest.raises(WebhookError) as caught:
        verify(headers, body, SECRET)
    assert caught.value.code == code


@pytest.mark.parametrize("secret", ["", [], "whsec_", "whsec_not base64!"])
def test_verify_names_a_wrong_secret_without_repeating_it(secret: Any) -> None:
    with pytest.raises(OptionError) as caught:
        verify(signed(), BODY, secret)
    assert "not base64" not in str(caught.value)
