"""What each gateway shows when it calls its hook, made by its documentation and not by the product's own code."""

from __future__ import annotations

import base64
import hmac
import json
import time
from collections.abc import Mapping
from typing import Any

PATH_SECRET = "a-secret-in-a-path"
SETTINGS = {
    "API_TOKEN": "a-token-of-our-own",
    "WPPCONNECT_SECRET": PATH_SECRET,
    "EVOLUTION_JWT_KEY": "a-key-that-signs-tokens-of-evolution",
    "WAHA_HMAC_KEY": "a-key-of-waha",
    "CLOUD_APP_SECRET": "a-secret-of-an-app",
    "CLOUD_VERIFY_TOKEN": "a-token-that-is-echoed",
}


def path(gateway: str) -> str:
    """Where the gateway sends to."""
    return f"/hooks/wppconnect/{PATH_SECRET}" if gateway == "wppconnect" else f"/hooks/{gateway}"


def headers(gateway: str, body: bytes) -> dict[str, str]:
    """What it shows beside this body."""
    return {"Content-Type": "application/json", **_SHOWN[gateway](body)}


def _waha(body: bytes) -> Mapping[str, str]:
    return {
        "X-Webhook-Request-Id": "01KAJM4Z7WQ0V5D3N8X2R6T9YA",
        "X-Webhook-Timestamp": str(int(time.time() * 1000)),
        "X-Webhook-Hmac-Algorithm": "sha512",
        "X-Webhook-Hmac": hmac.digest(SETTINGS["WAHA_HMAC_KEY"].encode(), body, "sha512").hex(),
    }


def _cloud(body: bytes) -> Mapping[str, str]:
    return {"X-Hub-Signature-256": f"sha256={hmac.digest(SETTINGS['CLOUD_APP_SECRET'].encode(), body, 'sha256').hex()}"}


def _evolution(_body: bytes) -> Mapping[str, str]:
    now = int(time.time())
    claims = {"iat": now, "exp": now + 600, "app": "evolution", "action": "webhook"}
    signed = f"{_part({'alg': 'HS256', 'typ': 'JWT'})}.{_part(claims)}"
    signature = hmac.digest(SETTINGS["EVOLUTION_JWT_KEY"].encode(), signed.encode(), "sha256")
    return {"Authorization": f"Bearer {signed}.{_base64url(signature)}"}


def _part(value: Any) -> str:
    return _base64url(json.dumps(value, separators=(",", ":")).encode())


def _base64url(value: bytes) -> str:
    return base64.urlsafe_b64encode(value).rstrip(b"=").decode()


_SHOWN = {
    "wppconnect": lambda _: {},  # its secret is in the path
    "evolution": _evolution,
    "waha": _waha,
    "cloud": _cloud,
    "media": lambda _: {"Authorization": f"Bearer {SETTINGS['API_TOKEN']}"},
}
