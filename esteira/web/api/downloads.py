"""Limits how many contents are downloaded at the same time: through one link, with one token, from one address, in all.

A slow reader keeps its connection and an open file. The limits leave the other connections for hooks and calls.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager
from typing import Annotated

from fastapi import Depends, Request

from esteira.web.auth.dependencies import ContentCaller
from esteira.web.server.client_addresses import client_group
from esteira.web.server.file_limits import max_connections
from pipeline.config.settings import Settings
from pipeline.errors import Code, RetryableError

SHARE_OF_CONNECTIONS = 0.25  # of a process, for all downloads together
RETRY_AFTER_S = 5


class Downloads:
    """The downloads of one process that are running, counted for each link, token and address, on the event loop."""

    def __init__(self, settings: Settings) -> None:
        self._per_link = settings.downloads_per_link
        self._per_address = settings.downloads_per_address
        self._total = max(1, int(max_connections() * SHARE_OF_CONNECTIONS))
        self._running: Counter[str] = Counter()

    @contextmanager
    def slot(self, *, address: str, link: str | None, token: str | None = None) -> Iterator[None]:
        """Counts one download until the block ends. `link`: the attachment of a signed link.

        `token`: the id of the token that is shown, or that made the link; it has as many as an address.

        Raises:
            RetryableError: `too_many_requests`.
        """
        limits = {"": self._total, f"address {address}": self._per_address}
        if token is not None:
            limits[f"token {token}"] = self._per_address
        if link is not None:
            limits[f"link {link}"] = self._per_link
        if any(self._running[key] >= limit for key, limit in limits.items()):
            message = "too many downloads at the same time"
            raise RetryableError(Code.TOO_MANY_REQUESTS, message, retry_after=RETRY_AFTER_S)
        self._running.update(limits.keys())
        try:
            yield
        finally:
            self._running.subtract(limits.keys())
            self._running += Counter()  # drops those without a download


async def _download_slot(request: Request, caller: ContentCaller) -> AsyncIterator[None]:
    downloads: Downloads = request.app.state.downloads
    with downloads.slot(address=client_group(request), link=caller.media_id, token=caller.token_id):
        yield  # until the response is sent


DownloadSlot = Annotated[None, Depends(_download_slot)]
