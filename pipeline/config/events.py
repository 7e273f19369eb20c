"""The settings of live events, of the Socket.IO server of Node, and of the addresses in events."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import BeforeValidator, Field, SecretStr, field_validator
from pydantic_settings import BaseSettings, NoDecode

from pipeline.config.connections import checked_redis_url
from pipeline.config.parsers import SecretParts, as_origin, as_public_url
from pipeline.config.redis_urls import redis_url_secrets
from pipeline.config.types import Positive, as_list

Origins = Annotated[tuple[Annotated[str, BeforeValidator(as_origin)], ...], NoDecode, BeforeValidator(as_list)]


class EventSettings(BaseSettings):
    """The settings of events, named like their environment variables in lower case."""

    event_history: int = Field(default=1000, ge=0, le=100_000)  # 0: no live events
    event_url: Literal["link", "store"] = "link"
    # None: http://WEB_HOST:PORT
    public_url: Annotated[str | None, BeforeValidator(as_public_url)] = None
    socket_clients: Positive = 1000
    socket_origins: Origins = ()
    notify_node_socketio: bool = False
    node_socketio_redis_url: Annotated[SecretStr | None, SecretParts(redis_url_secrets)] = None
    node_socketio_key: str = Field(default="socket.io", min_length=1, max_length=200)
    node_socketio_namespace: str = Field(default="/", pattern=r"^/[^#?,*\[\]]*$")
    node_socketio_room: Literal["session", "all"] = "session"

    @field_validator("node_socketio_redis_url")
    @classmethod
    def _node_redis_url(cls, value: SecretStr | None) -> SecretStr | None:
        return checked_redis_url(value)
