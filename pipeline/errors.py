"""The errors of the pipeline, each with a stable code that programs match on.

The type says whether an error is permanent: a `PermanentError` is final, a `RetryableError` may be retried.
"""

from __future__ import annotations

from enum import StrEnum
from typing import ClassVar, TypeVar

from pipeline.scrubber import scrub_message

MAX_MESSAGE = 500  # characters: texts of servers and senders may be part of a message

T = TypeVar("T")


class Code(StrEnum):
    """The stable error codes in the catalogue, in events, in responses and in logs."""

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
    FETCH_PROXY = "fetch_proxy"  # the proxy of FETCH_PROXY, not the media server
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
    ENCRYPTION_KEY = "encryption_key"  # ENCRYPTION_KEYS lacks the key of a row
    NOTIFY = "notify"  # a webhook attempt failed
    # the queue
    INTERNAL = "internal"
    POISON = "poison"
    QUEUE = "queue"
    SUPERSEDED = "superseded"
    # an operator
    CANCELLED = "cancelled"
    # messages, settings and requests
    BAD_PAYLOAD = "bad_payload"
    BAD_SETTING = "bad_setting"
    UNAUTHORIZED = "unauthorized"
    FORBIDDEN = "forbidden"
    NOT_FOUND = "not_found"
    METHOD_NOT_ALLOWED = "method_not_allowed"
    NOT_ENDED = "not_ended"
    NOT_PENDING = "not_pending"
    NO_PREVIEW = "no_preview"
    TOO_MANY_REQUESTS = "too_many_requests"
    GATEWAY_ERROR = "gateway_error"


class PipelineError(Exception):
    """Raised when a step cannot continue. `code` is stable, `message` is for people.

    The message is scrubbed and cut here, for all code that stores, sends or shows it: it contains no secret of this
    process, no login and no query of a URL, and at most MAX_MESSAGE characters. A class whose messages contain only our
    own words and the operator's is not `from_outside`.
    """

    from_outside: ClassVar[bool] = True

    def __init__(self, code: Code, message: str) -> None:
        message = scrub_message(message, limit=MAX_MESSAGE) if self.from_outside else message
        super().__init__(f"{code}: {message}")
        self.code = code
        self.message = message


class PermanentError(PipelineError):
    """Raised when a retry cannot help: the content or its source is refused."""


class TooLargeError(PermanentError):
    """Raised when a file has more bytes than are allowed."""

    def __init__(self, max_bytes: int) -> None:
        super().__init__(Code.TOO_LARGE, f"the file is larger than {max_bytes} bytes")


class CancelledError(PermanentError):
    """Raised when the attachment in progress was cancelled."""

    def __init__(self) -> None:
        super().__init__(Code.CANCELLED, "it was cancelled")


class RetryableError(PipelineError):
    """Raised when another attempt may succeed. `retry_after` is the delay in seconds that the server asks for."""

    def __init__(self, code: Code, message: str, *, retry_after: float | None = None) -> None:
        super().__init__(code, message)
        self.retry_after = retry_after


class GoneError(PipelineError):
    """Raised when the source no longer has the file, and its gateway is to be asked for it."""

    def __init__(self, message: str) -> None:
        super().__init__(Code.SOURCE_GONE, message)


class ReuploadError(RetryableError):
    """Raised when a gateway could not be asked for a file whose source is gone. The last attempt ends as `expired`."""


class BusyError(RetryableError):
    """Raised when this process is at a limit. The attachment is retried soon, and no attempt is counted."""


class PacedError(BusyError):
    """Raised when an attachment has to wait for its turn at a host: it is retried after `retry_after` seconds."""


class AwayError(RetryableError):
    """Raised when a server that every attachment needs is unreachable. The attachment waits; no attempt is counted."""


class StagingLostError(PipelineError):
    """Raised when the staged bytes of an attachment are not on this machine. It returns to fetch."""

    def __init__(self, name: str) -> None:
        super().__init__(Code.STAGING_LOST, f"the staged file {name} is not on this machine")


class SupersededError(PipelineError):
    """Raised when another worker has taken over this attachment. The caller stops and writes nothing."""

    def __init__(self, media_id: str) -> None:
        super().__init__(Code.SUPERSEDED, f"{media_id} has been taken over or has ended")


class PayloadError(PermanentError):
    """Raised when input of a gateway, a file or a command is invalid. `field` names the invalid field."""

    def __init__(self, field: str, message: str) -> None:
        super().__init__(Code.BAD_PAYLOAD, f"{field}: {message}" if field else message)
        self.field = field


class SettingsError(PermanentError):
    """Raised when a setting is wrong. The message names the variable, its fault and the remedy."""

    from_outside = False  # it has examples of URLs with logins, and a line for every wrong setting

    def __init__(self, message: str) -> None:
        super().__init__(Code.BAD_SETTING, message)


CANCELLED = CancelledError()  # the error in the row and in the event of every cancelled attachment


def or_raise(result: T | PipelineError) -> T:
    """Returns the result of one item, or raises its error.

    Raises:
        PipelineError: the error of the item.
    """
    if isinstance(result, PipelineError):
        raise result
    return result
