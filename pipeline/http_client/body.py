"""The file in an answer, read within its limits of size and time."""

from __future__ import annotations

import threading
from collections.abc import Iterator

from pipeline.errors import Code, PermanentError
from pipeline.http_client.connection import StreamedResponse, TruncatedError
from pipeline.http_client.response_parser import ProtocolError
from pipeline.http_client.responses import transport_error

PIECE = 256 * 1024

_spare = threading.local()  # each thread's buffer while nobody reads into it: a new one costs as much as a small file


class Body:
    """The file in an answer. `length` is what the server announced, in bytes, or None if it did not."""

    def __init__(self, answer: StreamedResponse, *, max_bytes: int, host: str) -> None:
        self.length = answer.length
        self._answer = answer
        self._max_bytes = max_bytes
        self._host = host
        if self.length is not None and self.length > max_bytes:
            raise self._too_large()

    def _too_large(self) -> PermanentError:
        return PermanentError(Code.TOO_LARGE, f"the file is larger than {self._max_bytes} bytes")

    def pieces(self) -> Iterator[memoryview]:
        """The bytes in pieces of at most 256 KiB, each valid until the next one is asked for.

        Raises:
            PermanentError: `too_large`, before more than `max_bytes` were handed out, or `fetch_protocol`.
            RetryableError: `fetch_truncated`, `fetch_reset` or `fetch_timeout`.
        """
        buffer = getattr(_spare, "buffer", None) or memoryview(bytearray(PIECE))
        _spare.buffer = None
        received = 0
        try:
            while count := self._read(buffer[: self._max_bytes - received + 1]):
                received += count
                if received > self._max_bytes:
                    raise self._too_large()
                yield buffer[:count]
        finally:
            _spare.buffer = buffer

    def chunks(self) -> Iterator[bytes]:
        """The same in pieces that stay."""
        return map(bytes, self.pieces())

    def _read(self, view: memoryview) -> int:
        try:
            return self._answer.read_into(view)
        except (OSError, ProtocolError, TruncatedError) as error:
            raise transport_error(error, self._host) from error
