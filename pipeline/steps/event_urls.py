"""The `url` of an event: where its receiver gets the content."""

from __future__ import annotations

from pipeline.config.settings import Settings
from pipeline.errors import SettingsError
from pipeline.models import Record
from pipeline.security.tokens import MAX_LINK_S, TokenSigner
from pipeline.storage import Storage


class EventUrls:
    """Makes the URLs of stored contents for events, as EVENT_URL says.

    A link needs an API_TOKEN, which signs it: without one, the URL is that of the storage.
    """

    def __init__(self, settings: Settings, storage: Storage) -> None:
        self._storage = storage
        self._base_url = settings.base_url
        self._signer = _signer(settings)

    def of(self, record: Record) -> str | None:
        """The URL of the content; None if none is stored. A link is valid for seven days."""
        if record.storage_key is None:
            return None
        if self._signer is None:
            return self._storage.url(record.storage_key)
        path, _ = self._signer.link(record.id, seconds=MAX_LINK_S)
        return self._base_url + path


def _signer(settings: Settings) -> TokenSigner | None:
    if settings.event_url == "store":
        return None
    try:
        return TokenSigner(settings.api_token)
    except SettingsError:
        return None
