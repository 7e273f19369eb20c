"""Links to pages, and short-lived signed links to contents for logged-in browsers."""

from __future__ import annotations

import time
from urllib.parse import urlencode

from pipeline.models import Record
from pipeline.security.callers import Caller
from pipeline.security.tokens import TokenSigner
from pipeline.services import services

HOUR_S = 3600
MEDIA = "/dashboard/media"


def content(record: Record, caller: Caller) -> str:
    """A link to the content through the web app, because the page's policy does not allow an object store's host.

    It ends with the token that the `caller` has logged in with.
    """
    return f"{_signed(record, caller)}&redirect=false"


def thumbnail(record: Record, caller: Caller) -> str:
    """A link to the thumbnail."""
    return _signed(record, caller).replace("/content?", "/thumbnail?", 1)


def page(media_id: str) -> str:
    """The path of an attachment's page."""
    return f"{MEDIA}/{media_id}"


def listing(**filters: str | None) -> str:
    """The path of the table with these filters."""
    wanted = {name: value for name, value in filters.items() if value}
    return f"{MEDIA}?{urlencode(wanted)}" if wanted else MEDIA


def _signed(record: Record, caller: Caller) -> str:
    # Expiry is rounded to full hours: the URL stays the same for an hour, so that the browser's cache works.
    seconds = 2 * HOUR_S - int(time.time()) % HOUR_S
    path, _ = TokenSigner(services().settings.api_token).link(record.id, seconds=seconds, caller=caller)
    return path
