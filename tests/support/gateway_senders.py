"""What each gateway sends to its hook: path, headers and signatures, written from its documentation.

The only place for the secrets and signatures of the gateways in tests. A new gateway needs an entry in SENDERS and its
secrets in SETTINGS.
"""

from __future__ import annotations

import base64
import hmac
import json
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

API_TOKEN = "a token of the tests"
PATH_SECRET = "a-secret-in-a-path"
WAHA_KEY = "a key of the tests"
CLOUD_SECRET = "an app's secret"
GOWA_SECRET = "a secret of a webhook"
SETTINGS = {
    "API_TOKEN": API_TOKEN,
    "WPPCONNECT_SECRET": PATH_SECRET,
    "EVOLUTION_JWT_KEY": "a-key-that-signs-tokens-of-evolution",
    "EVOLUTION_SECRET": "another secret",
    "WAHA_HMAC_KEY": WAHA_KEY,
    "GOWA_WEBHOOK_SECRET": GOWA_SECRET,
    "CLOUD_APP_SECRET": CLOUD_SECRET,
    "CLOUD_VERIFY_TOKEN": "a word of our choice",
}


@dataclass(frozen=True)
class Sender:
    """A gateway's requests. `authenticate` gives the headers for a body; `signs_body` says whether they depend on it.

    `section` is the heading of the gateway in docs/gateways.md, None for the generic hook.
    """

    path: str
    authenticate: Callable[[bytes], dict[str, str]]
    section: str | None
    signs_body: bool = False

    def headers(self, body: bytes) -> dict[str, str]:
        """All headers of a request with this body."""
        return {"Content-Type": "application/json", **self.authenticate(body)}


def waha_signature(body: bytes, *, key: str = WAHA_KEY, at: float | None = None) -> dict[str, str]:
    """WAHA's headers for a body; `at` is the time of sending in Unix seconds, default now."""
    return {
        "X-Webhook-Request-Id": "01KAJM4Z7WQ0V5D3N8X2R6T9YA",
        "X-Webhook-Timestamp": str(int(1000 * (time.time() if at is None else at))),
        "X-Webhook-Hmac-Algorithm": "sha512",
        "X-Webhook-Hmac": hmac.digest(key.encode(), body, "sha512").hex(),
    }


def hub_signature(body: bytes, *, secret: str = CLOUD_SECRET) -> dict[str, str]:
    """The header of Meta and of GOWA for a body."""
    return {"X-Hub-Signature-256": f"sha256={hmac.digest(secret.encode(), body, 'sha256').hex()}"}


def gowa_signature(body: bytes) -> dict[str, str]:
    """GOWA's header for a body."""
    return hub_signature(body, secret=GOWA_SECRET)


def evolution_jwt(_body: bytes) -> dict[str, str]:
    """Evolution API's header: a JWT that is valid for ten minutes."""
    now = int(time.time())
    claims = {"iat": now, "exp": now + 600, "app": "evolution", "action": "webhook"}
    signed = f"{_jwt_part({'alg': 'HS256', 'typ': 'JWT'})}.{_jwt_part(claims)}"
    signature = hmac.digest(SETTINGS["EVOLUTION_JWT_KEY"].encode(), signed.encode(), "sha256")
    return {"Authorization": f"Bearer {signed}.{_base64url(signature)}"}


def _jwt_part(value: Any) -> str:
    return _base64url(json.dumps(value, separators=(",", ":")).encode())


def _base64url(value: bytes) -> str:
    return base64.urlsafe_b64encode(value).rstrip(b"=").decode()


SENDERS = {
    "wppconnect": Sender(f"/hooks/wppconnect/{PATH_SECRET}", lambda _: {}, "WPPConnect"),
    "evolution": Sender("/hooks/evolution", evolution_jwt, "Evolution API"),
    "waha": Sender("/hooks/waha", waha_signature, "WAHA", signs_body=True),
    "gowa": Sender("/hooks/gowa", gowa_signature, "GOWA", signs_body=True),
    "cloud": Sender("/hooks/cloud", hub_signature, "Meta's Cloud API", signs_body=True),
    "media": Sender("/hooks/media", lambda _: {"Authorization": f"Bearer {API_TOKEN}"}, None),
}
