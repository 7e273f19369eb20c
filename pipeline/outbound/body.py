"""The file in an answer, read within its limits of size and time."""

from __future__ import annotations

import http.client
import time
from collections.abc import Callable, Iterator

from pipeline.errors import Code, PermanentError, RetryableError
from pipeline.outbound.answers import transport_error
from pipeline.outbound.connection import Answer, Connection

PIECE = 256 * 1024
MAX_WAIT_S = 366 * 24 * 3600.0  # beyond it, a socket's timeout overflows

Allowance = float | Callable[[int | None], float]


class Clock:
    """How long a whole request may take: seconds, or a function from the bytes received so far to seconds.

    With a function, a slow server must keep its pace all the time: announcing a large file buys it nothing.
    """

    def __init__(self, allowance: Allowance) -> None:
        self._allowance = allowance
        self._start = time.monotonic()

    def deadline(self, received: int | None = None) -> float:
        """The time of the monotonic clock at which it is over, after so many bytes."""
        seconds = self._allowance(received) if callable(self._allowance) else self._allowance
        return self._start + min(seconds, MAX_WAIT_S)

    def left(self) -> float:
        """Seconds until then, for a request that has received nothing yet."""
        return self.deadline() - time.monotonic()


class Body:
    """The file in an answer. `length` is what the server announced, in bytes, or None if it did not."""

    def __init__(self, answer: Answer, connection: Connection, *, clock: Clock, max_bytes: int, host: str) -> None:
        self.length = answer.length
        self.content_type = answer.headers.get("Content-Type")
        self._answer = answer
        self._connection = connection
        self._clock = clock
        self._max_bytes = max_bytes
        self._host = host
        if self.length is not None and self.length > max_bytes:
            raise self._too_large()

    def _too_large(self) -> PermanentError:
        return PermanentError(Code.TOO_LARGE, f"the file is larger than {self._max_bytes} bytes")

    def chunks(self) -> Iterator[bytes]:
        """The bytes in pieces of at most 256 KiB.

        Raises:
            PermanentError: `too_large`, before more than `max_bytes` were handed out, or `fetch_protocol`.
            RetryableError: `fetch_truncated`, `fetch_reset` or `fetch_timeout`.
        """
        received = 0
        while piece := self._read(min(PIECE, self._max_bytes - received + 1)):
            received += len(piece)
            if received > self._max_bytes:
                raise self._too_large()
            yield piece
            self._connection.deadline = self._clock.deadline(received)
        if self.length is not None and received < self.length:
            raise RetryableError(Code.FETCH_TRUNCATED, f"{self._host} sent {received} of {self.length} bytes")

    def _read(self, amount: int) -> bytes:
        try:
            return self._answer.read(amount)
        except (OSError, http.client.HTTPException) as error:
            raise transport_error(error, self._host) from error
