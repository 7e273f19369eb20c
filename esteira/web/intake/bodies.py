"""Reads request bodies within limits of size, time, speed and memory.

The memory for verified senders has a part for small bodies that large ones cannot use. Bodies of unverified senders
have memory of their own, and are limited in number.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from functools import partial
from typing import NamedTuple

from fastapi import Request
from starlette.exceptions import HTTPException

from esteira.web.intake.body_memory import SHARE, BodyMemory, MemoryPool
from esteira.web.intake.unverified_bodies import UnverifiedBodies, UnverifiedBody
from esteira.web.server.client_addresses import ClientAddresses
from esteira.web.server.connections import mark_receiving, mark_unverified
from pipeline.config.limits import MB
from pipeline.config.settings import Settings
from pipeline.errors import Code, PayloadError, PermanentError, RetryableError

MAX_CONCURRENT = 4  # bodies of MAX_BODY_MB of one gateway that are held in memory at the same time
MIN_MEMORY = 64 * MB  # for large bodies, where MAX_BODY_MB is small
SMALL_MEMORY = 64 * MB  # for the first megabyte of each body
GRACE_S = 5.0  # in which a body must arrive, …
MIN_BYTES_PER_S = 4096  # … plus one second for each of these
RETRY_AFTER_S = 1


class Terms(NamedTuple):
    """What a body is read for. `owner`: the gateway, or another name, to which its memory counts.

    `verified`: the head of the request has proved the sender. `max_bytes`: None for MAX_BODY_MB.
    """

    owner: str
    verified: bool = True
    max_bytes: int | None = None


class BodyReader:
    """Reads the bodies of one process: each one within its limits, and all together within the memory limits."""

    def __init__(self, settings: Settings) -> None:
        self._max_bytes = int(settings.max_body_mb * MB)
        self._timeout_s = settings.hook_body_timeout_s
        self._addresses = ClientAddresses(settings.trusted_proxies)
        self._small = MemoryPool(SMALL_MEMORY)
        self._large = MemoryPool(max(int(MAX_CONCURRENT * self._max_bytes / SHARE), MIN_MEMORY))
        self._unverified_memory = MemoryPool(max(int(self._max_bytes / SHARE), MIN_MEMORY))
        self._unverified = UnverifiedBodies()

    @asynccontextmanager
    async def read_body(self, request: Request, terms: Terms) -> AsyncIterator[bytes]:
        """The body as it was sent. Its memory counts as used until the block ends.

        A refused body is not read to its end: the server answers, and closes the connection.

        Raises:
            PayloadError: the body is compressed.
            PermanentError: `too_large`.
            RetryableError: `too_many_requests`: other bodies use up the memory.
            HTTPException: 408, if the body does not arrive in time.
            ClientDisconnect: the body ended early.
        """
        if request.headers.get("content-encoding", "identity").strip().lower() not in {"", "identity"}:
            raise PayloadError("", "the body is compressed: send it without Content-Encoding")
        users = partial(self._users, request, terms)
        small, large = (self._small, self._large) if terms.verified else (self._unverified_memory,) * 2
        memory = BodyMemory(small, large, users)
        max_bytes = self._max_bytes if terms.max_bytes is None else min(terms.max_bytes, self._max_bytes)
        limit = _SizeLimit(max_bytes, "MAX_BODY_MB" if max_bytes == self._max_bytes else None)
        reading = _Reading(memory, None if terms.verified else self._unverified, limit, self._timeout_s)
        try:
            yield await reading.run(request)
        finally:
            memory.release()

    def _users(self, request: Request, terms: Terms) -> tuple[str, str]:
        return f"gateway {terms.owner}", f"address {self._addresses.group_of(request)}"


class _SizeLimit(NamedTuple):
    """The most bytes of a body, and the setting that says so; None for a fixed limit."""

    max_bytes: int
    setting: str | None


class _Reading:
    """A body that is being read. `others`: the unverified bodies, if it is one of them."""

    def __init__(
        self, memory: BodyMemory, others: UnverifiedBodies | None, limit: _SizeLimit, timeout_s: float
    ) -> None:
        self._memory = memory
        self._others = others
        self._limit = limit
        self._timeout_s = timeout_s
        self._unverified: UnverifiedBody | None = None
        self._clock = asyncio.get_running_loop().time

    async def run(self, request: Request) -> bytes:
        announced = request.headers.get("content-length", "")
        if announced.isdecimal() and int(announced) > self._limit.max_bytes:
            raise self._too_large()
        if self._others is None:
            with mark_receiving(request.scope):
                return await self._receive(request)
        with mark_unverified(request.scope):
            try:
                return await self._receive(request)
            finally:
                if self._unverified is not None:
                    self._others.remove(self._unverified)

    async def _receive(self, request: Request) -> bytes:
        body, began = bytearray(), self._clock()
        try:
            async with asyncio.timeout(min(self._timeout_s, GRACE_S)) as timeout:
                self._register(timeout, began)
                async for chunk in request.stream():
                    body += chunk
                    self._check(len(body))
                    if chunk and self._timeout_s > GRACE_S:
                        timeout.reschedule(began + min(self._timeout_s, GRACE_S + len(body) / MIN_BYTES_PER_S))
        except TimeoutError:
            raise self._too_slow(len(body), self._clock() - began) from None
        return bytes(body)

    def _register(self, timeout: asyncio.Timeout, now: float) -> None:
        if self._others is not None:
            body = UnverifiedBody(self._memory, timeout, now)
            if not self._others.add(body, now):
                raise _too_many()
            self._unverified = body

    def _check(self, size: int) -> None:
        if size > self._limit.max_bytes:
            raise self._too_large()
        if self._unverified is None or self._others is None:
            if not self._memory.grow(size):
                raise _too_many()
            return
        if self._unverified.evicted:
            raise TimeoutError
        self._unverified.received = size
        while not self._memory.grow(size):
            if not self._others.evict_slowest(self._memory.users, self._clock()) or self._unverified.evicted:
                raise _too_many()

    def _too_large(self) -> PermanentError:
        setting = f" ({self._limit.setting})" if self._limit.setting else ""
        return PermanentError(Code.TOO_LARGE, f"the body is larger than {self._limit.max_bytes} bytes{setting}")

    def _too_slow(self, size: int, seconds: float) -> Exception:
        if self._unverified is not None and self._unverified.evicted:
            return _too_many()
        if seconds >= self._timeout_s:
            return HTTPException(408, f"the body did not arrive within {self._timeout_s:g} s (HOOK_BODY_TIMEOUT_S)")
        return HTTPException(408, f"the body arrives too slowly: {size} bytes in {seconds:.0f} s")


def _too_many() -> RetryableError:
    return RetryableError(Code.TOO_MANY_REQUESTS, "too many bodies at the same time", retry_after=RETRY_AFTER_S)
