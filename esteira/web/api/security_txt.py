"""`/.well-known/security.txt` (RFC 9116): whom to tell about a vulnerability of this installation."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from fastapi import FastAPI, Request
from fastapi.responses import PlainTextResponse

from pipeline.config.settings import Settings

PATH = "/.well-known/security.txt"
VALID_FOR = timedelta(days=180)  # RFC 9116 recommends less than a year


def add_route(app: FastAPI, settings: Settings) -> None:
    """Adds the route if SECURITY_CONTACT is set. It needs no token."""
    if settings.security_contact:
        app.get(PATH, response_class=PlainTextResponse)(show_security_txt)


def show_security_txt(request: Request) -> PlainTextResponse:
    """Whom to tell about a vulnerability of this installation, in the form of RFC 9116."""
    settings: Settings = request.app.state.settings
    return PlainTextResponse(security_txt(settings, now=datetime.now(UTC)))


def security_txt(settings: Settings, *, now: datetime) -> str:
    """The file's text. It expires at a midnight in 180 days, so that all answers of a day are the same."""
    expires = (now + VALID_FOR).replace(hour=0, minute=0, second=0, microsecond=0)
    lines = [f"Contact: {contact}" for contact in settings.security_contact]
    lines.append(f"Expires: {expires:%Y-%m-%dT%H:%M:%SZ}")
    if settings.security_policy:
        lines.append(f"Policy: {settings.security_policy}")
    return "".join(f"{line}\n" for line in lines)
