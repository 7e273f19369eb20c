"""Sentry, where it was set up: by SENTRY_DSN, or by the listener whose process this is.

Nothing is captured elsewhere, so nothing is imported there: it takes 27 ms of CPU time.
"""

from __future__ import annotations

import importlib
import sys
from typing import Any

from actors.observability.json_lines import Scrub


def init(dsn: str, scrub: Scrub) -> None:
    """Sets it up for last attempts and fallbacks only, which are captured where they happen."""
    sdk = importlib.import_module("sentry_sdk")

    def before_send(event: Any, _: Any) -> Any:
        return scrub(event)

    sdk.init(
        dsn=dsn,
        auto_enabling_integrations=False,  # Dramatiq's would send an event for every attempt
        send_default_pii=False,
        include_local_variables=False,
        max_request_body_size="never",
        before_send=before_send,
    )
    importlib.import_module("sentry_sdk.integrations.logging").ignore_logger("dramatiq")


def is_initialized() -> bool:
    """Whether anybody has set it up in this process."""
    sdk = _sdk()
    return sdk is not None and bool(sdk.is_initialized())


def report_error(error: BaseException, facts: dict[str, Any]) -> None:
    """Tells Sentry of an error, with the attachment, stage and attempt that it belongs to."""
    sdk = _sdk()
    if sdk is None:
        return
    with sdk.new_scope() as scope:
        for name, value in facts.items():
            scope.set_tag(name, value)
        sdk.capture_exception(error)


def report_message(words: str) -> None:
    """Tells Sentry of what no exception stands for."""
    sdk = _sdk()
    if sdk is not None:
        sdk.capture_message(words, level="error")


def _sdk() -> Any:
    return sys.modules.get("sentry_sdk")  # whoever has set it up has imported it
