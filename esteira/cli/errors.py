"""Turns errors from outside (settings, Redis, database) into one line with a remedy, and an exit status."""

from __future__ import annotations

from typing import NoReturn

import dramatiq
import redis

from actors.redis_queue.address import CHECK_ADDRESS, CHECK_LOGIN, redis_address
from esteira.cli.output import exit_with, print_message, printable
from pipeline.catalogue import CatalogueError
from pipeline.config.settings import current_settings
from pipeline.errors import Code, PayloadError, PipelineError, RetryableError, SettingsError

FAILED, USAGE = 1, 2  # exit statuses

REMEDIES = {
    Code.CATALOGUE: "check DATABASE_URL or VAR_DIR, the permissions there, and that the database server runs",
    Code.QUEUE: CHECK_ADDRESS,
    Code.STAGING: "check STAGING_DIR and the free space there",
    Code.STORAGE: "check STORAGE_URL and the free space there",
}


NEXT_STEPS = {
    Code.NOT_FOUND: "`esteira list` shows the newest",
    Code.NOT_ENDED: "`esteira status ID` shows its state",
    Code.NOT_PENDING: "`esteira delete ID` removes what has ended",
}


def exit_with_message(error: Exception) -> None:
    """Prints the error and ends the command; returns if the error is a bug, which needs its traceback."""
    match error:
        case SettingsError() | PayloadError():  # both are made from what the user gave
            _fail(error.message, USAGE)
        case CatalogueError():  # its message already has the remedy
            _fail(error.message, FAILED)
        case PipelineError():
            # A permanent error has its remedy in its message.
            remedy = REMEDIES.get(error.code) if isinstance(error, RetryableError) else None
            _fail(f"{error.message}; {remedy}" if remedy else error.message, FAILED)
        case redis.AuthenticationError():
            _fail(f"Redis at {redis_address(current_settings())} refuses the login; {CHECK_LOGIN}", FAILED)
        case redis.RedisError() | dramatiq.ConnectionError():
            _fail(f"Redis at {redis_address(current_settings())} does not answer; {CHECK_ADDRESS}", FAILED)


def refusal(media_id: str, error: PipelineError) -> str:
    """One line on an attachment that a command cannot act on, with what to do."""
    remedy = NEXT_STEPS.get(error.code)
    return printable(f"{media_id}: {error.message}{f'; {remedy}' if remedy else ''}")


def _fail(message: str, status: int) -> NoReturn:
    print_message(f"esteira: {message}")
    exit_with(status)
