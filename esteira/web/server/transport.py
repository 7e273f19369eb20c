"""A transport that ends connections whose peer does not read, and that delivers the answer to a refused body."""

from __future__ import annotations

import asyncio
from collections import OrderedDict
from collections.abc import Callable
from typing import Any, ClassVar

CHECK_S = 1.0  # between two looks at what a peer has read
RATE_WINDOW_S = 30.0  # in which a peer that has something to read has to read …
MIN_BYTES_PER_S = 32 * 1024  # … so many bytes a second: 2 GB in 17 hours
MAX_UNREAD_BYTES = 128 * 1024 * 1024  # of all connections of one process
FREE_UNREAD_BYTES = 64 * 1024  # of each connection, which are not counted
LINGER_S = 10.0  # how long a refused body is still received: some senders read the answer only after sending it all
MAX_LINGERING = 100  # connections of one process for which this is done


class WatchedTransport(asyncio.Transport):
    """The transport of one connection, with the same methods.

    `stall_s`: seconds without progress after which an unread answer ends the connection. `has_unread_body` says whether
    the body of the last request has not arrived completely. `on_linger` is called when the rest of it is to be dropped.
    """

    unread: ClassVar[set[WatchedTransport]] = set()  # the transports of this process whose peer has not read all
    # The transports of this process that wait for their peer to close, the oldest first.
    lingering: ClassVar[OrderedDict[WatchedTransport, None]] = OrderedDict()

    def __init__(
        self,
        transport: asyncio.Transport,
        loop: asyncio.AbstractEventLoop,
        *,
        stall_s: float,
        has_unread_body: Callable[[], bool],
    ) -> None:
        super().__init__()
        self._transport = transport
        self._loop = loop
        self._stall_s = stall_s
        self._has_unread_body = has_unread_body
        self._timer: asyncio.TimerHandle | None = None
        self._written = 0
        self._progress = _Progress(0, 0)

    @property
    def unread_bytes(self) -> int:
        """How much was written and not yet accepted by the kernel, because the peer does not read."""
        return self._transport.get_write_buffer_size()

    def write(self, data: Any) -> None:
        self._transport.write(data)
        self._written += len(data)
        if self._timer is None and self._transport.get_write_buffer_size():
            now = self._loop.time()
            self._progress = _Progress(now, self._sent())
            self._timer = self._loop.call_later(CHECK_S, self._check)
            self.unread.add(self)
        if self._timer is not None and self.unread_bytes > FREE_UNREAD_BYTES:
            self._limit_unread()

    def close(self) -> None:
        """Closes the connection after what was written is sent, and after the rest of the request was received."""
        if self._transport.is_closing() or self in self.lingering:
            return
        if not (self._has_unread_body() and self._transport.can_write_eof()):
            self._transport.close()
            return
        # To close now would reset the connection, because there is unread data: the sender would not see the answer.
        try:
            self._transport.write_eof()
        except OSError:  # the peer has reset the connection, which is not known here yet
            self._transport.abort()
            return
        self._transport.resume_reading()
        self.lingering[self] = None
        self._loop.call_later(LINGER_S, self._end_lingering)
        if len(self.lingering) > MAX_LINGERING:
            next(iter(self.lingering))._end_lingering()

    def _end_lingering(self) -> None:
        if self in self.lingering:
            del self.lingering[self]
            self._transport.abort()

    def abort(self) -> None:
        self._transport.abort()

    def release(self) -> None:
        """Forgets a connection that was lost."""
        self.lingering.pop(self, None)
        self.unread.discard(self)
        if self._timer is not None:
            self._timer.cancel()

    def is_closing(self) -> bool:
        return self in self.lingering or self._transport.is_closing()

    @property
    def is_lingering(self) -> bool:
        """Whether what arrives is dropped until the peer closes the connection."""
        return self in self.lingering

    def _sent(self) -> int:
        return self._written - self._transport.get_write_buffer_size()

    def _limit_unread(self) -> None:
        """Ends the connections with the largest unread answers until all of them fit into the memory."""
        sizes = {transport: transport.unread_bytes for transport in self.unread}
        total = sum(sizes.values())
        for transport in sorted(sizes, key=sizes.__getitem__, reverse=True):
            if total <= MAX_UNREAD_BYTES:
                return
            total -= sizes[transport]
            self.unread.discard(transport)
            transport.abort()

    def _check(self) -> None:
        self._timer = None
        if not self._transport.get_write_buffer_size():
            self.unread.discard(self)
            return
        if self._progress.is_too_slow(self._loop.time(), self._sent(), stall_s=self._stall_s):
            self._transport.abort()
        else:
            self._timer = self._loop.call_later(CHECK_S, self._check)

    # What follows only passes on.

    def get_extra_info(self, name: str, default: Any = None) -> Any:
        return self._transport.get_extra_info(name, default)

    def pause_reading(self) -> None:
        self._transport.pause_reading()

    def resume_reading(self) -> None:
        self._transport.resume_reading()

    def is_reading(self) -> bool:
        return self._transport.is_reading()

    def get_write_buffer_size(self) -> int:
        return self._transport.get_write_buffer_size()

    def set_protocol(self, protocol: asyncio.BaseProtocol) -> None:
        self._transport.set_protocol(protocol)

    def get_protocol(self) -> asyncio.BaseProtocol:
        return self._transport.get_protocol()


class _Progress:
    """How far a peer has read: `sent` bytes at a time."""

    def __init__(self, now: float, sent: int) -> None:
        self._sent, self._sent_at = sent, now
        self._window_sent, self._window_began = sent, now

    def is_too_slow(self, now: float, sent: int, *, stall_s: float) -> bool:
        """Whether the peer has read nothing for `stall_s`, or too little in the last RATE_WINDOW_S."""
        if sent > self._sent:
            self._sent, self._sent_at = sent, now
        window_s = now - self._window_began
        slow = window_s >= RATE_WINDOW_S and sent - self._window_sent < MIN_BYTES_PER_S * window_s
        if window_s >= RATE_WINDOW_S:
            self._window_sent, self._window_began = sent, now
        return slow or now - self._sent_at >= stall_s
