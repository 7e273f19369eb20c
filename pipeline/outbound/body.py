"""The file in an answer, read within its limits of size and time."""

from __future__ import annotations

import http.client
from collections.abc import Iterator

from pipeline.errors import Code, PermanentError, RetryableError
from pipeline.outbound.answers import transport_error
from pipeline.outbound.connection import Answer

PIECE = 256 * 1024


class Body:
    """The file in an answer. `length` is what the server announced, in bytes, or None if it did not."""

    def __init__(self, answer: Answer, *, max_bytes: int, host: str) -> None:
        self.length = answer.length
        self.content_type = answer.headers.get("Content-Type")
        self._answer = answer
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
        if self.length is not None and received < self.length:
            raise RetryableError(Code.FETCH_TRUNCATED, f"{self._host} sent {received} of {self.length} bytes")

    def _read(self, amount: int) -> bytes:
        try:
            return self._answer.read(amount)
        except (OSError, http.client.HTTPException) as error:
            raise transport_error(error, self._host) from error
