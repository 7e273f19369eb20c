"""The body of a response, read within its limits of size and time."""

from __future__ import annotations

import threading
from collections.abc import Iterator

from pipeline.errors import TooLargeError
from pipeline.http_client.connection import StreamedResponse, TruncatedError
from pipeline.http_client.response_parser import ProtocolError
from pipeline.http_client.responses import transport_error

PIECE = 256 * 1024  # bytes read at a time

_idle = threading.local()  # `buffer` of each thread while it is not in use: a new one costs as much as a small file


class Body:
    """The body of a response. `length` is its announced length in bytes, or None if the server announced none."""

    def __init__(self, response: StreamedResponse, *, max_bytes: int, host: str) -> None:
        """
        Raises:
            PermanentError: `too_large`, if the announced length exceeds `max_bytes`.
        """
        self.length = response.length
        self._response = response
        self._max_bytes = max_bytes
        self._host = host
        if self.length is not None and self.length > max_bytes:
            raise self._too_large()

    def views(self) -> Iterator[memoryview]:
        """The content in views of at most 256 KiB. Each view is valid until the next one is requested.

        Raises:
            PermanentError: `too_large`, before more than `max_bytes` were returned, or `fetch_protocol`.
            RetryableError: `fetch_truncated`, `fetch_reset` or `fetch_timeout`.
        """
        buffer = getattr(_idle, "buffer", None) or memoryview(bytearray(PIECE))
        _idle.buffer = None
        received = 0
        try:
            while count := self._read(buffer[: self._max_bytes - received + 1]):
                received += count
                if received > self._max_bytes:
                    raise self._too_large()
                yield buffer[:count]
        finally:
            _idle.buffer = buffer

    def chunks(self) -> Iterator[bytes]:
        """The content in copies of at most 256 KiB. Raises what `views` raises."""
        return map(bytes, self.views())

    def _read(self, view: memoryview) -> int:
        try:
            return self._response.read_into(view)
        except (OSError, ProtocolError, TruncatedError) as error:
            raise transport_error(error, self._host) from error

    def _too_large(self) -> TooLargeError:
        return TooLargeError(self._max_bytes)
