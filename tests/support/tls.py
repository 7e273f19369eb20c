"""Certificates for tests, from an authority that only the test trusts."""

from __future__ import annotations

import ssl
from datetime import datetime

import trustme


def server_context(authority: trustme.CA, *names: str, not_after: datetime | None = None) -> ssl.SSLContext:
    """What a server with a certificate for these names uses."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    not_before = datetime(2000, 1, 1) if not_after else None  # trustme takes naive times  # noqa: DTZ001  # trustme takes naive times
    authority.issue_cert(*names, not_before=not_before, not_after=not_after).configure_cert(context)
    return context


def client_context(authority: trustme.CA) -> ssl.SSLContext:
    """What a client that trusts this authority uses, as strict as the product's own."""
    context = ssl.create_default_context()
    authority.configure_trust(context)
    return context
