"""Sets up logs, Sentry and traces for a process."""

from __future__ import annotations

import logging
import os
import sys
from collections.abc import MutableMapping
from typing import Any

import structlog

from actors.observability import sentry, tracing
from actors.observability.json_lines import JsonRenderer, StderrLogger
from pipeline.config.settings import Settings
from pipeline.config.unknown_names import unknown_names
from pipeline.private_memory import hide_memory
from pipeline.scrubber import Scrub, hide_secrets

# Dramatiq's and Alembic's lines repeat ours, with arguments and without the session.
# The HTTP access logs contain secrets that are part of URL paths.
QUIET_LOGGERS = ("dramatiq", "alembic", "httpx", "uvicorn.access", "uvicorn.sockets")

# Environment variable, set where another process writes time and part in front of each text line, so that
# the line needs no time of its own: `colour` if that process writes to a terminal, else `plain`.
PREFIXED_LINES = "ESTEIRA_PREFIXED_LINES"

log = structlog.get_logger(__name__)


def configure_observability(settings: Settings) -> None:
    """Sets up logs, Sentry and traces, and hides this process's memory. Called once at the start of a process of ours.

    It is called before the broker is created. `esteira start`, its parent guards and uvicorn's master hide their memory
    too. Dramatiq's master does not: it is started by exec(2), which undoes it, and runs none of our code.
    """
    scrub = hide_secrets(settings.secrets())
    if not settings.allow_debuggers:
        hide_memory()
    configure_logs(settings, scrub)
    configure_sentry(settings, scrub)
    tracing.start_tracing(scrub)


def configure_in_listener(settings: Settings) -> None:
    """Sets up, in the process of a listener, only what that process has not set up itself."""
    scrub = hide_secrets(settings.secrets())
    if not structlog.is_configured():
        _configure_structlog(settings, scrub)
    if not sentry.is_initialized():
        configure_sentry(settings, scrub)
    tracing.start_tracing(scrub)


def warn_about_unknown_settings() -> None:
    """Logs a warning for each variable that looks like a setting but is none. Called once at the start of a process."""
    for unknown in unknown_names():
        log.warning("unknown setting", name=unknown.name, where=unknown.where, meant=unknown.suggestion)


def configure_logs(settings: Settings, scrub: Scrub) -> None:
    """Writes each event as one line on stderr: JSON, or coloured text on a terminal; also those of other libraries."""
    processors, level = _configure_structlog(settings, scrub)
    *shared, renderer = processors
    handler = logging.StreamHandler(_CurrentStderr())
    remove_meta = structlog.stdlib.ProcessorFormatter.remove_processors_meta
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(foreign_pre_chain=shared, processors=[remove_meta, renderer])
    )
    logging.basicConfig(handlers=[handler], level=max(level, logging.INFO), force=True)
    for name in QUIET_LOGGERS:
        logging.getLogger(name).setLevel(max(level, logging.WARNING))


def configure_sentry(settings: Settings, scrub: Scrub) -> None:
    """Sets up Sentry if SENTRY_DSN is set."""
    if settings.sentry_dsn:
        sentry.init(settings.sentry_dsn.get_secret_value(), scrub)


def _configure_structlog(settings: Settings, scrub: Scrub) -> tuple[list[Any], int]:
    level: int = getattr(logging, settings.log_level.upper())
    as_json = settings.log_format == "json" or (settings.log_format == "auto" and not sys.stderr.isatty())

    prefixed = os.environ.get(PREFIXED_LINES)

    def remove_secrets(_logger: Any, _method: str, event: MutableMapping[str, Any]) -> Any:
        return scrub(event)

    processors: list[Any] = [
        structlog.processors.add_log_level,
        *([] if prefixed and not as_json else [structlog.processors.TimeStamper(fmt="iso", utc=True)]),
        structlog.processors.format_exc_info,
        remove_secrets,
        JsonRenderer(scrub) if as_json else structlog.dev.ConsoleRenderer(colors=_shows_colours(prefixed)),
    ]
    structlog.configure(
        processors=processors,
        wrapper_class=structlog.make_filtering_bound_logger(level),
        logger_factory=lambda *_: StderrLogger(),
        cache_logger_on_first_use=True,
    )
    return processors, level


def _shows_colours(prefixed: str | None) -> bool:
    return sys.stderr.isatty() if prefixed is None else prefixed == "colour"


class _CurrentStderr:
    """Writes to the current sys.stderr, which Dramatiq replaces by a pipe to its main process."""

    def write(self, text: str) -> int:
        return sys.stderr.write(text)

    def flush(self) -> None:
        sys.stderr.flush()
