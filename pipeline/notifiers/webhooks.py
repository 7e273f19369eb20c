"""Webhooks out: which receivers an event goes to, and one attempt to hand it over.

Signed as Standard Webhooks lays down (standardwebhooks.com): with each of an endpoint's secrets, the newest first, so
that a receiver that knows one of them accepts it while they are exchanged.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from types import MappingProxyType
from urllib.parse import urlsplit

from standardwebhooks import Webhook

from pipeline.config.settings import Settings
from pipeline.config.webhooks import DEFAULT_ENDPOINT, EndpointSettings, signing_key
from pipeline.errors import Code, PermanentError, PipelineError, RetryableError, SettingsError
from pipeline.http_client import HttpClient
from pipeline.models import Outcome

GONE = 410


class RefusedError(RetryableError):
    """Raised when a receiver answers with anything but a 2xx."""

    def __init__(self, status: int, *, retry_after: float | None = None) -> None:
        super().__init__(Code.NOTIFY, f"the endpoint answered {status}", retry_after=retry_after)
        self.status = status


@dataclass(frozen=True)
class Endpoint:
    """One receiver."""

    settings: EndpointSettings
    http_client: HttpClient = field(repr=False)
    timeout_s: float

    @property
    def name(self) -> str:
        return self.settings.name

    @property
    def origin(self) -> str:
        """Where it is, without the path, which may be a secret: `https://crm.example:8443`."""
        parts = urlsplit(self.settings.url.get_secret_value())
        return f"{parts.scheme}://{parts.netloc.rpartition('@')[2]}"

    def send(self, event_id: str, body: str) -> None:
        """One attempt to hand an event over. Its address is checked anew; redirects are not followed.

        Raises:
            RetryableError: `notify`; RefusedError, if it answered. The message shows the host at most.
        """
        url = self.settings.url.get_secret_value()
        try:
            answer = self.http_client.post(
                url, body.encode(), headers=self._headers(event_id, body), timeout_s=self.timeout_s
            )
        except PipelineError as error:
            # Also what is final for a download: a name may lead elsewhere tomorrow, a certificate may be renewed.
            raise RetryableError(Code.NOTIFY, f"{error.code}: {error.message}") from None
        if not 200 <= answer.status < 300:
            raise RefusedError(answer.status, retry_after=answer.retry_after)

    def _headers(self, event_id: str, body: str) -> dict[str, str]:
        now = datetime.now(UTC)
        keys = (signing_key(secret.get_secret_value()) for secret in self.settings.secrets)
        return {
            "content-type": "application/json",
            "webhook-id": event_id,
            "webhook-timestamp": str(int(now.timestamp())),
            "webhook-signature": " ".join(Webhook(key).sign(event_id, now, body) for key in keys),
        }


class Webhooks:
    """Every receiver of these settings by its name, and who is to be woken when something is due for it."""

    def __init__(self, endpoints: Iterable[Endpoint] = ()) -> None:
        self.endpoints: Mapping[str, Endpoint] = MappingProxyType({one.name: one for one in endpoints})
        self._bells: dict[str, Callable[[], object]] = {}
        self._lock = threading.Lock()

    def endpoint_names(self, told: Outcome) -> list[str]:
        """The names of the endpoints that want this event."""
        return [
            name
            for name, endpoint in self.endpoints.items()
            if endpoint.settings.matches(type_=told.type, session=told.session)
        ]

    def set_waker(self, name: str, bell: Callable[[], object] | None) -> None:
        """Has `bell` called whenever this process has written down something for that endpoint; None ends it."""
        with self._lock:
            if bell is None:
                self._bells.pop(name, None)
            else:
                self._bells[name] = bell

    def wake(self, names: Iterable[str]) -> None:
        """Wakes whoever delivers to these endpoints in this process, if anybody does."""
        for name in names:
            if bell := self._bells.get(name):
                bell()


def build_webhooks(settings: Settings, http_client: HttpClient) -> Webhooks:
    """The endpoints of WEBHOOK_URL and WEBHOOK_ENDPOINTS.

    Raises:
        SettingsError: one of their URLs leads where nothing may be sent.
    """
    for endpoint in settings.endpoints:
        try:
            http_client.check_url(endpoint.url.get_secret_value())
        except PermanentError as error:
            first = settings.webhook_url and endpoint.name == DEFAULT_ENDPOINT
            place = "WEBHOOK_URL" if first else f"WEBHOOK_ENDPOINTS: {endpoint.name}"
            remedy = "FETCH_ALLOW_PRIVATE lets private networks through"
            raise SettingsError(f"{place}: {error.message}; {remedy}") from None
    return Webhooks(Endpoint(one, http_client, settings.webhook_timeout_s) for one in settings.endpoints)
