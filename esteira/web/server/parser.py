"""The parser of HTTP/1.1 requests, which refuses bodies in many tiny chunks."""

from __future__ import annotations

from typing import Any

import h11

FREE_CHUNKS = 1000  # of each body, of any size
MIN_CHUNK_BYTES = 256  # on average, of a body with more chunks


class LimitedParser(h11.Connection):
    """The state of one server connection, as h11's.

    A chunk takes 30 µs to parse, and all chunks that arrive together are parsed at once: 256 kB of chunks with one byte
    each stopped all other requests for seconds.
    """

    def __init__(self, max_head_bytes: int) -> None:
        super().__init__(h11.SERVER, max_head_bytes)
        self._chunks, self._received = 0, 0

    def next_event(self) -> Any:
        """The next event.

        Raises:
            RemoteProtocolError: the peer does not speak HTTP/1.1, or sends a body in too many chunks.
        """
        event = super().next_event()
        if isinstance(event, h11.Request):
            self._chunks, self._received = 0, 0
        elif isinstance(event, h11.Data):
            self._chunks += event.chunk_start
            self._received += len(event.data)
            if self._chunks > FREE_CHUNKS and self._received < self._chunks * MIN_CHUNK_BYTES:
                raise h11.RemoteProtocolError("the body has too many small chunks")
        return event
