"""Sentry, if it was set up: by SENTRY_DSN, or by the listener whose process this is.

The SDK is imported only when it is used, because its import takes 27 ms of CPU time.
"""

from __future__ import annotations

import importlib
import sys
from collections.abc import Mapping
from typing import Any

from pipeline.extras import require_extra
from pipeline.scrubber import Scrub


def init(dsn: str, scrub: Scrub) -> None:
    """Sets Sentry up without automatic capture: only last attempts, fallbacks and unexpected errors are reported.

    Raises:
        MissingExtraError: the extra `sentry` is missing.
    """
    require_extra("sentry", "SENTRY_DSN")
    sdk = importlib.import_module("sentry_sdk")
    # It puts the key of the DSN into the environment of every child process, and into headers of HTTP requests.
    propagation = importlib.import_module("sentry_sdk.integrations.stdlib").StdlibIntegration

    def before_send(event: Any, _: Any) -> Any:
        return scrub(event)

    sdk.init(
        dsn=dsn,
        disabled_integrations=[propagation],
        auto_enabling_integrations=False,  # Dramatiq's would send an event for every attempt
        send_default_pii=False,
        include_local_variables=False,
        max_request_body_size="never",
        before_send=before_send,
    )
    importlib.import_module("sentry_sdk.integrations.logging").ignore_logger("dramatiq")


def is_initialized() -> bool:
    """Whether Sentry is set up in this process, by Esteira or by the listener."""
    sdk = _sdk()
    return sdk is not None and bool(sdk.is_initialized())


def report_error(error: BaseException, tags: Mapping[str, Any]) -> None:
    """Sends an error with tags such as the attachment's id, the stage and the attempt."""
    sdk = _sdk()
    if sdk is None:
        return
    with sdk.new_scope() as scope:
        for name, value in tags.items():
            scope.set_tag(name, value)
        sdk.capture_exception(error)


def report_message(message: str) -> None:
    """Sends an error that has no exception."""
    sdk = _sdk()
    if sdk is not None:
        sdk.capture_message(message, level="error")


def _sdk() -> Any:
    return sys.modules.get("sentry_sdk")  # None if it was never imported, and so never set up
