"""Every way an attachment can fail, with the stable code that programs match on.

Permanence is in the type of the error: a `PermanentError` is final, a `RetryableError` may be tried again.
"""

from __future__ import annotations

from enum import StrEnum
from typing import TypeVar

T = TypeVar("T")


class Code(StrEnum):
    """Stable codes of errors, as they stand in the catalogue, in events, in answers and in logs."""

    # fetch
    URL_BLOCKED = "url_blocked"
    URL_SCHEME = "url_scheme"
    NO_SOURCE = "no_source"
    SOURCE_GONE = "source_gone"
    TOO_LARGE = "too_large"
    EMPTY = "empty"
    FETCH_BUSY = "fetch_busy"
    FETCH_DNS = "fetch_dns"
    FETCH_PROTOCOL = "fetch_protocol"
    FETCH_REDIRECT = "fetch_redirect"
    FETCH_REFUSED = "fetch_refused"
    FETCH_RESET = "fetch_reset"
    FETCH_TIMEOUT = "fetch_timeout"
    FETCH_TLS = "fetch_tls"
    FETCH_TRUNCATED = "fetch_truncated"
    FETCH_UNAUTHORIZED = "fetch_unauthorized"
    FETCH_UNAVAILABLE = "fetch_unavailable"
    # decryption
    DECRYPT_FORMAT = "decrypt_format"
    DECRYPT_KEY = "decrypt_key"
    DECRYPT_MAC = "decrypt_mac"
    HASH_MISMATCH = "hash_mismatch"
    # detect and validate
    TYPE_NOT_ALLOWED = "type_not_allowed"
    TYPE_MISMATCH = "type_mismatch"
    BROKEN = "broken"
    TOO_MANY_PIXELS = "too_many_pixels"
    TOO_MANY_FRAMES = "too_many_frames"
    TOO_MANY_PAGES = "too_many_pages"
    TOO_LONG = "too_long"
    EXPANDS_TOO_FAR = "expands_too_far"
    ACTIVE_CONTENT = "active_content"
    DECODER_CRASH = "decoder_crash"
    TOO_COSTLY = "too_costly"
    # the antivirus, before persist
    ANTIVIRUS = "antivirus"
    MALWARE = "malware"
    # persist and notify
    STAGING = "staging"
    STAGING_LOST = "staging_lost"
    STORAGE = "storage"
    CATALOGUE = "catalogue"
    NOTIFY = "notify"  # of a webhook's attempt, and of what an earlier version could not announce
    # the belt
    INTERNAL = "internal"
    POISON = "poison"
    QUEUE = "queue"
    SUPERSEDED = "superseded"
    # an operator
    CANCELLED = "cancelled"
    # what comes from outside
    BAD_PAYLOAD = "bad_payload"
    BAD_SETTING = "bad_setting"
    UNAUTHORIZED = "unauthorized"
    NOT_FOUND = "not_found"
    METHOD_NOT_ALLOWED = "method_not_allowed"
    NOT_ENDED = "not_ended"
    NOT_PENDING = "not_pending"
    NO_PREVIEW = "no_preview"
    TOO_MANY_REQUESTS = "too_many_requests"
    GATEWAY_ERROR = "gateway_error"


class PipelineError(Exception):
    """Raised when a step cannot go on. `code` is stable, `message` is for people and holds no secret."""

    def __init__(self, code: Code, message: str) -> None:
        super().__init__(f"{code}: {message}")
        self.code = code
        self.message = message


class PermanentError(PipelineError):
    """Raised when trying again cannot help: the content or its source is refused for good."""


class CancelledError(PermanentError):
    """Raised in the midst of its work on an attachment that somebody has cancelled."""

    def __init__(self) -> None:
        super().__init__(Code.CANCELLED, "it was cancelled")


class RetryableError(PipelineError):
    """Raised when another attempt may succeed. `retry_after` is the server's own wish, in seconds."""

    def __init__(self, code: Code, message: str, *, retry_after: float | None = None) -> None:
        super().__init__(code, message)
        self.retry_after = retry_after


class BusyError(RetryableError):
    """Raised when this process has too much of something under way: to be asked again soon, and no attempt."""


class PacedError(BusyError):
    """Raised when it is not an attachment's turn at a host yet: it comes back after `retry_after` seconds."""


class AwayError(RetryableError):
    """Raised when a server that every attachment needs does not answer: the attachment waits, and no attempt counts."""


class StagingLostError(PipelineError):
    """Raised when the staged bytes of an attachment are not on this machine: it goes back to fetch."""

    def __init__(self, name: str) -> None:
        super().__init__(Code.STAGING_LOST, f"the staged file {name} is not on this machine")


class SupersededError(PipelineError):
    """Raised when somebody else has taken this attachment over: whoever sees it stops and writes nothing."""

    def __init__(self, media_id: str) -> None:
        super().__init__(Code.SUPERSEDED, f"{media_id} has been taken over or has ended")


class PayloadError(PermanentError):
    """Raised when what a gateway, a file or a command handed over does not fit; `field` names what is wrong."""

    def __init__(self, field: str, message: str) -> None:
        super().__init__(Code.BAD_PAYLOAD, f"{field}: {message}" if field else message)
        self.field = field


class SettingsError(PermanentError):
    """Raised when a setting is wrong. The message names the variable, its fault and the remedy."""

    def __init__(self, message: str) -> None:
        super().__init__(Code.BAD_SETTING, message)


CANCELLED = CancelledError()  # what its row and its announcement say, whoever writes them


def or_raise(result: T | PipelineError) -> T:
    """The result of one item of many, its error raised.

    Raises:
        PipelineError: the item's own.
    """
    if isinstance(result, PipelineError):
        raise result
    return result
