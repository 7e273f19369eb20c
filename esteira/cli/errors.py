"""How a command ends that something outside it has stopped: one line for people with the remedy, and a status."""

from __future__ import annotations

from typing import NoReturn

import dramatiq
import redis

from actors.doctor.redis_server import CHECK_ADDRESS, CHECK_LOGIN, redis_address
from esteira.cli.output import leave, say
from pipeline.catalogue import CatalogueError
from pipeline.config.settings import current_settings
from pipeline.errors import Code, PipelineError, RetryableError, SettingsError

FAILED, USAGE = 1, 2  # exit codes, beside 0 for done

REMEDIES = {
    Code.CATALOGUE: "check DATABASE_URL or VAR_DIR, who may read and write there, and that its server runs",
    Code.QUEUE: CHECK_ADDRESS,
    Code.STAGING: "check STAGING_DIR and the free space there",
    Code.STORAGE: "check STORAGE_URL and the free space there",
}


def leave_with(error: Exception) -> None:
    """Ends the command, or does nothing for an error that is a fault of ours."""
    match error:
        case SettingsError():
            _fail(error.message, USAGE)
        case CatalogueError():  # its message has the remedy already
            _fail(error.message, FAILED)
        case PipelineError():
            # What waiting does not mend says itself what does.
            remedy = REMEDIES.get(error.code) if isinstance(error, RetryableError) else None
            _fail(f"{error.message}; {remedy}" if remedy else error.message, FAILED)
        case redis.AuthenticationError():
            _fail(f"Redis at {redis_address(current_settings())} refuses the login; {CHECK_LOGIN}", FAILED)
        case redis.RedisError() | dramatiq.ConnectionError():
            _fail(f"Redis at {redis_address(current_settings())} does not answer; {CHECK_ADDRESS}", FAILED)


def _fail(message: str, status: int) -> NoReturn:
    say(f"esteira: {message}")
    leave(status)
