"""Webhook endpoints: which of them get an event, and one attempt to deliver it.

Requests are signed as in Standard Webhooks (standardwebhooks.com) with each of an endpoint's secrets, the newest first,
so that a receiver accepts them with the old or the new secret while secrets are rotated.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from importlib import import_module
from types import MappingProxyType
from urllib.parse import urlsplit

from pipeline.config.settings import Settings
from pipeline.config.webhooks import DEFAULT_ENDPOINT, EndpointSettings, signing_key
from pipeline.errors import Code, PermanentError, PipelineError, RetryableError, SettingsError
from pipeline.http_client import HttpClient
from pipeline.models import Outcome

GONE = 410  # the status with which a receiver asks for no more events


class RefusedError(RetryableError):
    """Raised when an endpoint does not answer with a 2xx status."""

    def __init__(self, status: int, *, retry_after: float | None = None) -> None:
        super().__init__(Code.NOTIFY, f"the endpoint answered {status}", retry_after=retry_after)
        self.status = status


@dataclass(frozen=True)
class Endpoint:
    """A server that gets events."""

    settings: EndpointSettings
    http_client: HttpClient = field(repr=False)
    timeout_s: float

    @property
    def name(self) -> str:
        return self.settings.name

    @property
    def origin(self) -> str:
        """Scheme, host and port (`https://crm.example:8443`); the path may be a secret."""
        parts = urlsplit(self.settings.url.get_secret_value())
        return f"{parts.scheme}://{parts.netloc.rpartition('@')[2]}"

    def send(self, event_id: str, body: str) -> None:
        """Tries to deliver an event once. The address is checked again, and redirects are not followed.

        Raises:
            RetryableError: `notify`; RefusedError if the endpoint answered. The message contains no more than the host.
        """
        url = self.settings.url.get_secret_value()
        try:
            answer = self.http_client.post(
                url, body.encode(), headers=self._headers(event_id, body), timeout_s=self.timeout_s
            )
        except PipelineError as error:
            # Errors that are permanent for a download are retried here: an address or a certificate may be corrected.
            raise RetryableError(Code.NOTIFY, f"{error.code}: {error.message}") from None
        if not 200 <= answer.status < 300:
            raise RefusedError(answer.status, retry_after=answer.retry_after)

    def _headers(self, event_id: str, body: str) -> dict[str, str]:
        now, webhook = datetime.now(UTC), import_module("standardwebhooks").Webhook
        keys = (signing_key(secret.get_secret_value()) for secret in self.settings.secrets)
        return {
            "content-type": "application/json",
            "webhook-id": event_id,
            "webhook-timestamp": str(int(now.timestamp())),
            "webhook-signature": " ".join(webhook(key).sign(event_id, now, body) for key in keys),
        }


class Webhooks:
    """The endpoints of the settings by name, and the callbacks that wake their deliveries in this process."""

    def __init__(self, endpoints: Iterable[Endpoint] = ()) -> None:
        self.endpoints: Mapping[str, Endpoint] = MappingProxyType({endpoint.name: endpoint for endpoint in endpoints})
        self._wakers: dict[str, Callable[[], object]] = {}
        self._lock = threading.Lock()

    def endpoint_names(self, outcome: Outcome) -> list[str]:
        """The names of the endpoints that get this event."""
        return [
            name
            for name, endpoint in self.endpoints.items()
            if endpoint.settings.matches(type_=outcome.type, session=outcome.session)
        ]

    def set_waker(self, name: str, waker: Callable[[], object] | None) -> None:
        """Sets the function that `wake` calls for an endpoint; None removes it."""
        with self._lock:
            if waker is None:
                self._wakers.pop(name, None)
            else:
                self._wakers[name] = waker

    def wake(self, names: Iterable[str]) -> None:
        """Announce new events for these endpoints to the code that delivers them in this process, if any."""
        for name in names:
            if waker := self._wakers.get(name):
                waker()


def build_webhooks(settings: Settings, http_client: HttpClient) -> Webhooks:
    """The endpoints of WEBHOOK_URL and WEBHOOK_ENDPOINTS.

    Raises:
        SettingsError: the URL of an endpoint is not allowed.
    """
    for endpoint in settings.endpoints:
        try:
            http_client.check_url(endpoint.url.get_secret_value(), own_machine=True)
        except PermanentError as error:
            is_default = settings.webhook_url and endpoint.name == DEFAULT_ENDPOINT
            setting = "WEBHOOK_URL" if is_default else f"WEBHOOK_ENDPOINTS: {endpoint.name}"
            remedy = "allow a private network with FETCH_ALLOW_PRIVATE"
            raise SettingsError(f"{setting}: {error.message}; {remedy}") from None
    return Webhooks(Endpoint(endpoint, http_client, settings.webhook_timeout_s) for endpoint in settings.endpoints)
