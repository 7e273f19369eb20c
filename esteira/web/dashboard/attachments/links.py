"""Short-lived signed links to what a browser shows, made for who is logged in."""

from __future__ import annotations

import time
from urllib.parse import urlencode

from pipeline.models import Record
from pipeline.security.tokens import TokenSigner
from pipeline.services import services

HOUR_S = 3600
MEDIA = "/dashboard/media"


def content(record: Record) -> str:
    """The content, through the web app: to an object store the page's policy would not let the browser go."""
    return f"{_signed(record)}&redirect=false"


def thumbnail(record: Record) -> str:
    """The small picture of its content."""
    return _signed(record).replace("/content?", "/thumbnail?", 1)


def page(media_id: str) -> str:
    """The page of one attachment."""
    return f"{MEDIA}/{media_id}"


def listing(**filters: str | None) -> str:
    """The table of those that fit these filters."""
    wanted = {name: value for name, value in filters.items() if value}
    return f"{MEDIA}?{urlencode(wanted)}" if wanted else MEDIA


def _signed(record: Record) -> str:
    # Until the hour after next begins: one address for an hour, so that the browser keeps what it has.
    seconds = 2 * HOUR_S - int(time.time()) % HOUR_S
    path, _ = TokenSigner(services().settings.api_token).link(record.id, seconds=seconds)
    return path
