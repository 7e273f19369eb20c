"""Sends the entries of the spool, the oldest first, as a task of the client's event loop."""

from __future__ import annotations

import asyncio
import logging
from collections import Counter
from collections.abc import Callable
from enum import Enum, auto

from esteira_client.backoff import WRONG_OPTION_S, Backoff
from esteira_client.errors import EsteiraError, MessageError, SpoolError, UnauthorizedError, UnavailableError
from esteira_client.spool import Entry, Spool
from esteira_client.spool_lock import RENEW_S, SpoolLock
from esteira_client.transport import Transport

log = logging.getLogger("esteira_client")

OnError = Callable[[EsteiraError, str | None], None]

SEND_TIMEOUT_S = 10.0
SLOWEST_BYTES_PER_S = 256_000  # of an upload, in addition to SEND_TIMEOUT_S
IDLE_S = 2.0  # between two looks into a folder that other processes may fill, or whose lock they hold
MAX_REFUSALS = 3  # failures of one entry's own, after which it does not hold up the others


class _Next(Enum):
    """What follows an attempt: the next entry, or a pause."""

    GO_ON = auto()
    PAUSE = auto()


class SpoolSender:
    """The sender of one client. Of several processes with one folder, the one that has its lock sends.

    `on_error` is called with what a person should know: an entry that was moved aside (and its id), a wrong token.
    """

    def __init__(self, spool: Spool, transport: Transport, backoff: Backoff, on_error: OnError) -> None:
        self._spool = spool
        self._transport = transport
        self._backoff = backoff
        self._on_error = on_error
        self._lock = SpoolLock(spool.folder)
        self._wake = asyncio.Event()
        self._refusals: Counter[str] = Counter()
        self._reported: set[str] = set()

    def wake(self) -> None:
        """Makes the sender look into the folder soon; it keeps to its backoff."""
        self._wake.set()

    async def run(self) -> None:
        """Sends until it is cancelled."""
        try:
            while True:
                if not self._backoff.remaining_s:
                    await self._round()
                await self._wait()
        finally:
            self._lock.release()

    async def _wait(self) -> None:
        """Waits as long as the backoff says, or else until there may be something to send."""
        while True:
            try:
                async with asyncio.timeout(self._backoff.remaining_s or IDLE_S):
                    await self._wake.wait()
            except TimeoutError:
                return
            self._wake.clear()
            if not self._backoff.remaining_s:
                return

    async def _round(self) -> None:
        """Sends all entries that are there, unless another process does."""
        try:
            names = await asyncio.to_thread(self._spool.names)
            if not names or not await asyncio.to_thread(self._lock.acquire):
                return
            renewing = asyncio.create_task(self._keep_lock())
            try:
                await asyncio.to_thread(self._spool.remove_leftovers)
                for name in names:
                    if await self._send(name) is _Next.PAUSE:
                        return
            finally:
                renewing.cancel()
                self._lock.release()  # not in a thread: there are none while the interpreter ends
        except OSError as error:
            self._report_failed_spool(error)
            self._backoff.fail("spool_failed", is_away=False)

    async def _keep_lock(self) -> None:
        while True:
            await asyncio.sleep(RENEW_S)
            await asyncio.to_thread(self._lock.renew)

    async def _send(self, name: str) -> _Next:
        try:
            entry = await asyncio.to_thread(self._spool.load, name)
        except SpoolError as error:
            await self._move_aside(name, error, None)
            return _Next.GO_ON
        if entry is None:
            return _Next.GO_ON
        if self._spool.is_expired(entry):
            message = f"the server was away for longer than max_age_s: {name} is moved aside"
            await self._move_aside(name, SpoolError(message, code="spool_expired"), entry)
            return _Next.GO_ON
        return await self._send_entry(entry)

    async def _send_entry(self, entry: Entry) -> _Next:
        try:
            within_s = SEND_TIMEOUT_S + entry.sent.size / SLOWEST_BYTES_PER_S
            await self._transport.hand_over(entry.sent, within_s=within_s)
        except FileNotFoundError:
            return _Next.GO_ON  # another process has sent it, or the next round finds its bytes missing
        except EsteiraError as error:
            return await self._failed(entry, error)
        await asyncio.to_thread(self._spool.remove, entry.name)
        self._refusals.pop(entry.name, None)
        self._reported.clear()
        self._backoff.succeed()
        return _Next.GO_ON

    async def _failed(self, entry: Entry, error: EsteiraError) -> _Next:
        if isinstance(error, UnauthorizedError) or error.code == "redirected":
            self._report(error, entry.sent.id)
            self._backoff.fail(error.code, at_least_s=WRONG_OPTION_S, is_away=False)
            return _Next.PAUSE
        if isinstance(error, MessageError) and not self._spool.has(entry.name):
            return _Next.GO_ON  # another process has sent it
        if not isinstance(error, UnavailableError):
            await self._move_aside(entry.name, error, entry)
            return _Next.GO_ON
        self._backoff.fail(error.code, at_least_s=error.retry_after)
        # A large file may need longer than the server or the network allow, which says nothing about the others.
        if error.status >= 500 if error.status else entry.sent.file is not None:
            self._refusals[entry.name] += 1
            if self._refusals[entry.name] >= MAX_REFUSALS:
                return _Next.GO_ON
        return _Next.PAUSE

    async def _move_aside(self, name: str, error: EsteiraError, entry: Entry | None) -> None:
        try:
            await asyncio.to_thread(self._spool.move_aside, name)
        except OSError as failure:  # the other entries are sent all the same
            self._report_failed_spool(failure)
            return
        self._refusals.pop(name, None)
        self._tell(error, entry.sent.id if entry else None)

    def _report_failed_spool(self, error: OSError) -> None:
        self._report(SpoolError(f"the spool cannot be used: {error.strerror}", code="spool_failed"), None)

    def _report(self, error: EsteiraError, media_id: str | None) -> None:
        """Reports what lasts only once, until something was sent."""
        if error.code not in self._reported:
            self._reported.add(error.code)
            self._tell(error, media_id)

    def _tell(self, error: EsteiraError, media_id: str | None) -> None:
        try:
            self._on_error(error, media_id)
        except Exception:  # the listener's own function must not end the sending
            log.exception("on_error failed")
