"""Messages of the pipeline's errors: without secrets, and bounded."""

from __future__ import annotations

import pytest

from pipeline.errors import (
    MAX_MESSAGE,
    AwayError,
    Code,
    PayloadError,
    PermanentError,
    PipelineError,
    RetryableError,
    SettingsError,
)
from pipeline.scrubber import HIDDEN, hide_secrets
from pipeline.services import build_services
from tests.support.checking import settings

SECRET = "hunter2hunter2hunter2"


@pytest.mark.parametrize("error_class", [PipelineError, PermanentError, RetryableError, AwayError])
def test_message_has_no_secret_of_the_process(error_class: type[PipelineError]) -> None:
    hide_secrets([SECRET])
    error = error_class(Code.STORAGE, f"the server says {SECRET} and https://u:p@host/a?sig=1")
    assert error.message == f"the server says {HIDDEN} and https://host/a?{HIDDEN}"
    assert SECRET not in f"{error!r} {error}"


def test_services_hide_the_secrets_of_their_settings() -> None:
    services = build_services(settings(api_token=SECRET))
    try:
        assert PermanentError(Code.MALWARE, f"clamd found {SECRET}").message == f"clamd found {HIDDEN}"
    finally:
        services.close()


def test_message_is_cut() -> None:
    error = PayloadError("caption", "x" * 1_000_000)
    assert len(error.message) == MAX_MESSAGE
    assert error.message.endswith("x…")


@pytest.mark.parametrize("before", range(MAX_MESSAGE - 2 * len(SECRET), MAX_MESSAGE + 1))
def test_cut_shows_no_part_of_a_secret(before: int) -> None:
    hide_secrets([SECRET, "a much longer secret of the same process"])
    message = PermanentError(Code.STORAGE, "." * before + SECRET * 3 + "." * MAX_MESSAGE).message
    assert "hun" not in message
    assert len(message) <= MAX_MESSAGE


def test_message_that_is_little_too_long_loses_little() -> None:
    hide_secrets([SECRET * 5])
    assert PermanentError(Code.STORAGE, "x" * (MAX_MESSAGE + 1)).message == "x" * (MAX_MESSAGE - 1) + "…"


def test_message_about_a_setting_keeps_its_examples() -> None:
    text = "SENTRY_DSN: must be https://key@host/number\n" * 50
    assert SettingsError(text).message == text
