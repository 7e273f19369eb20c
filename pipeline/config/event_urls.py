"""The settings of the addresses in events."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import BeforeValidator
from pydantic_settings import BaseSettings

from pipeline.config.parsers import as_public_url

EventUrl = Literal["link", "store"]


class EventUrlSettings(BaseSettings):
    """What the `url` of an event is, and the address at which others reach the web app."""

    event_url: EventUrl = "link"
    # None: http://WEB_HOST:PORT
    public_url: Annotated[str | None, BeforeValidator(as_public_url)] = None
