"""The errors of the client. Every error has the HTTP `status` (None without an answer) and a stable `code`.

Messages never contain a token, a media key or the query of a URL.
"""

from __future__ import annotations


class EsteiraError(Exception):
    """Base of all errors of this package.

    `code` is Esteira's, or one of the client's own: see each class. `message` is for people.
    """

    def __init__(self, message: str, *, code: str, status: int | None = None) -> None:
        super().__init__(message)
        self.message = message
        self.code = code
        self.status = status

    @property
    def retryable(self) -> bool:
        """Whether the same call may succeed later."""
        return False

    def __str__(self) -> str:
        place = f"{self.status} {self.code}" if self.status else self.code
        return f"{place}: {self.message}"


class UnavailableError(EsteiraError):
    """Raised when the server is away or asks to wait; the same call may succeed later.

    Own codes: `unreachable`, `timeout`, `bad_reply` (something else answers in its place). `retry_after` is in seconds,
    None unless the server named it.
    """

    def __init__(self, message: str, *, code: str, status: int | None = None, retry_after: float | None = None) -> None:
        super().__init__(message, code=code, status=status)
        self.retry_after = retry_after

    @property
    def retryable(self) -> bool:
        return True


class RefusedError(EsteiraError):
    """Raised when the server refuses for good: the same call fails again. Own code: `redirected`."""


class UnauthorizedError(RefusedError):
    """Raised for 401: the token is missing, wrong, expired or revoked."""


class ForbiddenError(UnauthorizedError):
    """Raised for 403: the token's role or sessions do not allow this."""


class NotFoundError(RefusedError):
    """Raised for 404 and 410: there is no such attachment, or no content of it."""


class ConflictError(RefusedError):
    """Raised for 409: the attachment's status does not allow this."""


class TooLargeError(RefusedError):
    """Raised for 413: the message or the file exceeds a limit of the server."""


class MessageError(EsteiraError):
    """Raised before anything is sent: the message cannot be handed over as it is. Code: `bad_message`."""

    def __init__(self, message: str) -> None:
        super().__init__(message, code="bad_message")


class OptionError(EsteiraError, ValueError):
    """Raised when an option of the client is wrong. Code: `bad_option`."""

    def __init__(self, message: str) -> None:
        super().__init__(message, code="bad_option")


class SpoolError(EsteiraError):
    """Raised when a hand-over cannot be spooled. Code: `spool_failed`: the disk is full, or the folder not writable.

    Reported to `on_error` with the codes `spool_damaged` and `spool_expired`: an entry was moved aside.
    """

    @property
    def retryable(self) -> bool:
        return self.code in {"spool_full", "spool_failed"}


class SpoolFullError(SpoolError):
    """Raised when the spool has reached one of its limits. Code: `spool_full`."""

    def __init__(self, message: str) -> None:
        super().__init__(message, code="spool_full")


class WebhookError(EsteiraError):
    """Raised when a webhook is not one that Esteira signed: `bad_signature`, `too_old` or `bad_body`."""


REFUSALS: dict[int, type[RefusedError]] = {
    401: UnauthorizedError,
    403: ForbiddenError,
    404: NotFoundError,
    409: ConflictError,
    410: NotFoundError,
    413: TooLargeError,
}
