"""The address of Redis in messages, and what to check when it does not answer."""

from __future__ import annotations

from pipeline.config.redis_urls import parse_redis_url
from pipeline.config.settings import Settings

CHECK_ADDRESS = "check REDIS_URL or REDIS_HOST and that its server runs; with neither set, `esteira start` runs one"
CHECK_LOGIN = "check the password in REDIS_URL or PASSWORD_REDIS"


def redis_address(settings: Settings) -> str:
    """The host and port of Redis, its service and sentinels, or the path of its socket; without the password."""
    return str(parse_redis_url(settings.redis))
