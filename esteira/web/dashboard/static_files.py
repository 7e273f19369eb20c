"""The stylesheets, scripts and pictures of the dashboard, and their addresses."""

from __future__ import annotations

import hashlib
from functools import cache
from importlib import resources

TYPES = {
    "dashboard.css": "text/css",
    "dashboard.js": "text/javascript",
    "icon.svg": "image/svg+xml",
    "media.css": "text/css",
    "media.js": "text/javascript",
}
UNDER = "/dashboard/static/"


@cache
def content(name: str) -> bytes:
    """The bytes of a file in TYPES."""
    return (resources.files("esteira.web.dashboard") / "static" / name).read_bytes()


def address(name: str) -> str:
    """The path of a file with a digest of its content, so that browsers do not use a copy from before an upgrade."""
    return f"{UNDER}{name}?{hashlib.sha256(content(name)).hexdigest()[:12]}"
