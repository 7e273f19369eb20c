"""Tells an endpoint over HTTP, signed as Standard Webhooks lays down (standardwebhooks.com)."""

from __future__ import annotations

import binascii
import json
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime

from standardwebhooks import Webhook

from pipeline.errors import Code, PermanentError, PipelineError, RetryableError, SettingsError
from pipeline.models import Outcome
from pipeline.outbound import Outbound
from pipeline.settings import Settings


def build(settings: Settings, outbound: Outbound) -> Callable[[Outcome], None] | None:
    """The endpoint of WEBHOOK_URL, or None without one.

    Raises:
        SettingsError: WEBHOOK_URL leads where nothing may be sent, or WEBHOOK_SECRET is no base64.
    """
    if not (settings.webhook_url and settings.webhook_secret):
        return None
    url = settings.webhook_url.get_secret_value()
    try:
        outbound.check(url)
    except PermanentError as error:
        raise SettingsError(
            f"WEBHOOK_URL: {error.message}; FETCH_ALLOW_PRIVATE lets private networks through"
        ) from None
    signer = _signer(settings.webhook_secret.get_secret_value())
    return Endpoint(url, signer=signer, outbound=outbound, timeout_s=settings.webhook_timeout_s)


@dataclass(frozen=True)
class Endpoint:
    """One receiver. Calling it delivers, or raises RetryableError (`notify`)."""

    url: str
    signer: Webhook
    outbound: Outbound
    timeout_s: float

    def __call__(self, told: Outcome) -> None:
        body = json.dumps(told.payload(), ensure_ascii=False, separators=(",", ":"))
        try:
            status = self.outbound.post(
                self.url, body.encode(), headers=self._headers(told.event_id, body), timeout_s=self.timeout_s
            )
        except PipelineError as error:
            wait = error.retry_after if isinstance(error, RetryableError) else None
            raise RetryableError(Code.NOTIFY, f"webhook: {error.code}: {error.message}", retry_after=wait) from None
        # Not even 410 is the end: whoever repairs the endpoint within the attempts still gets the event.
        if not 200 <= status < 300:
            raise RetryableError(Code.NOTIFY, f"webhook: the endpoint answered {status}")

    def _headers(self, event_id: str, body: str) -> dict[str, str]:
        now = datetime.now(UTC)
        return {
            "content-type": "application/json",
            "webhook-id": event_id,
            "webhook-timestamp": str(int(now.timestamp())),
            "webhook-signature": self.signer.sign(event_id, now, body),
        }


def _signer(secret: str) -> Webhook:
    fault = "WEBHOOK_SECRET: is not base64: use whsec_ and at least 24 random bytes in base64"
    try:
        key = binascii.a2b_base64(_padded(secret.removeprefix("whsec_")), strict_mode=True)
    except (binascii.Error, ValueError):
        raise SettingsError(fault) from None
    if not key:
        raise SettingsError(fault)
    return Webhook(key)


def _padded(text: str) -> str:
    return text.rstrip("=") + "=" * (-len(text.rstrip("=")) % 4)
