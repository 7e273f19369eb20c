"""Logs and Sentry, and what must never reach them: media keys, tokens, bodies, the queries of URLs."""

from __future__ import annotations

import logging
import re
import sys
from collections.abc import Mapping, MutableMapping
from functools import lru_cache
from typing import Any

import structlog

from actors.observability import sentry, tracing
from actors.observability.json_lines import JsonLine, Scrub, Stderr
from pipeline.config.settings import Settings
from pipeline.config.unknown_names import unknown_names

HIDDEN = "[hidden]"
PLAIN = (int, float, type(None))
SECRET_NAME = re.compile(
    r"media[_-]?key|token|secret|password|authorization|api[_-]?key|signature|^(data|body|payload)$", re.I
)
URL_SECRETS = re.compile(r"(\w+://)(?:[^\s/@]*@)?([^\s?#\"']*)\?[^\s\"']*")
URL_LOGIN = re.compile(r"(\w+://)[^\s/@]+@")
HOOK_SECRETS = re.compile(r"(/hooks/[\w-]+[/?])[^\s\"']+")  # a gateway's secret may be the last part of the path

log = structlog.get_logger(__name__)


def scrubber(secrets: list[str]) -> Scrub:
    """A function that hides secrets in text, lists and mappings.

    They are known values, values of telling names, logins and queries of URLs, and the ends of hooks' paths.
    """
    known = _worth_hiding(secrets)

    def text(value: str) -> str:
        value = _without_secret_places(value)
        for secret in known:
            if secret in value:
                value = value.replace(secret, HIDDEN)
        return value

    def scrub(value: Any) -> Any:
        if isinstance(value, str):
            return text(value)
        if isinstance(value, PLAIN):
            return value
        if isinstance(value, Mapping):
            return {key: HIDDEN if _is_telling(key) and value[key] else scrub(value[key]) for key in value}
        if isinstance(value, list | tuple):
            return [scrub(item) for item in value]
        return value

    return scrub


def _worth_hiding(secrets: list[str]) -> list[str]:
    """Also as they stand in the repr() of what holds them."""
    long = [secret for secret in secrets if len(secret) >= 6]
    return list(dict.fromkeys([*long, *(repr(secret)[1:-1] for secret in long)]))


def _without_secret_places(text: str) -> str:
    if "://" in text:
        text = URL_LOGIN.sub(r"\1", URL_SECRETS.sub(rf"\1\2?{HIDDEN}", text))
    if "/hooks/" in text:
        text = HOOK_SECRETS.sub(rf"\1{HIDDEN}", text)
    return text


@lru_cache(maxsize=1000)
def _is_telling(key: Any) -> bool:
    """Whether what goes by this name is a secret."""
    return isinstance(key, str) and SECRET_NAME.search(key) is not None


def configure_observability(settings: Settings) -> None:
    """Sets up logs, Sentry and traces for this process. To be called once, at its edge, before the broker is made."""
    scrub = scrubber(settings.secrets())
    configure_logs(settings, scrub)
    configure_sentry(settings, scrub)
    tracing.start_tracing(scrub)


def warn_about_unknown_settings() -> None:
    """Warns of what looks like a setting and is none. To be called once, where a process starts."""
    for unknown in unknown_names():
        log.warning("no setting", name=unknown.name, where=unknown.where, meant=unknown.meant)


def configure_in_listener(settings: Settings) -> None:
    """The same within a listener's own process: what it has set up itself stays as it is."""
    scrub = scrubber(settings.secrets())
    if not structlog.is_configured():
        _configure_structlog(settings, scrub)
    if not sentry.is_initialized():
        configure_sentry(settings, scrub)
    tracing.start_tracing(scrub)


def configure_logs(settings: Settings, scrub: Scrub) -> None:
    """One line an event on stderr: JSON, or coloured text on a terminal. Other libraries' lines look the same."""
    shared, renderer, level = _configure_structlog(settings, scrub)
    handler = logging.StreamHandler(_CurrentStderr())
    handler.setFormatter(structlog.stdlib.ProcessorFormatter(foreign_pre_chain=shared, processors=[_plain, renderer]))
    logging.basicConfig(handlers=[handler], level=max(level, logging.INFO), force=True)
    # What these say of their messages, we say ourselves, without arguments and with the session.
    # Uvicorn's lines of access hold the secrets that stand in paths.
    for name in ("dramatiq", "alembic", "httpx", "uvicorn.access", "uvicorn.sockets"):
        logging.getLogger(name).setLevel(max(level, logging.WARNING))


def _configure_structlog(settings: Settings, scrub: Scrub) -> tuple[list[Any], Any, int]:
    json_lines = settings.log_format == "json" or (settings.log_format == "auto" and not sys.stderr.isatty())
    level: int = getattr(logging, settings.log_level.upper())

    def hide(_: Any, __: str, event: MutableMapping[str, Any]) -> MutableMapping[str, Any]:
        hidden: MutableMapping[str, Any] = scrub(event)
        return hidden

    shared: list[Any] = [
        structlog.processors.add_log_level,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
        structlog.processors.format_exc_info,
        hide,
    ]
    renderer: Any = structlog.processors.JSONRenderer() if json_lines else structlog.dev.ConsoleRenderer()
    ours = JsonLine(scrub, secrets=_worth_hiding(settings.secrets()), is_telling=_is_telling)
    structlog.configure(
        processors=[ours] if json_lines else [*shared, renderer],
        wrapper_class=structlog.make_filtering_bound_logger(level),
        logger_factory=lambda *_: Stderr(),
        cache_logger_on_first_use=True,
    )
    return shared, renderer, level


def _plain(_: Any, __: str, event: MutableMapping[str, Any]) -> MutableMapping[str, Any]:
    event.pop("_record", None)
    event.pop("_from_structlog", None)
    return event


class _CurrentStderr:
    """Writes to what sys.stderr is now: Dramatiq's workers replace it by a pipe to their master."""

    def write(self, text: str) -> int:
        return sys.stderr.write(text)

    def flush(self) -> None:
        sys.stderr.flush()


def configure_sentry(settings: Settings, scrub: Scrub) -> None:
    """Sentry, if a DSN is set."""
    if settings.sentry_dsn:
        sentry.init(settings.sentry_dsn.get_secret_value(), scrub)
