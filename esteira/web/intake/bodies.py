"""Reads request bodies within limits of size, time and memory, and decodes them as strict JSON."""

from __future__ import annotations

import asyncio
import json
import math
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from fastapi import Request
from starlette.exceptions import HTTPException

from pipeline.config.settings import MB, Settings
from pipeline.errors import Code, PayloadError, PermanentError, RetryableError

MAX_DEPTH = 64  # levels of arrays and objects
MAX_CONCURRENT = 4  # bodies of MAX_BODY_MB that are held in memory at the same time …
MIN_MEMORY = 64 * MB  # … or this many bytes in total, where MAX_BODY_MB is small
ALWAYS_ACCEPTED = 64 * 1024  # bytes of each body that are read even when the memory is used up; connections are limited
LINGER_S = 2.0  # how long a refused body is still received: some senders read the response only after sending it all


class BodyReader:
    """Reads the bodies of one process: each one within its limits, and all together within the memory limit."""

    def __init__(self, settings: Settings) -> None:
        self._limit = int(settings.max_body_mb * MB)
        self._timeout_s = settings.hook_body_timeout_s
        self._max_held = max(MAX_CONCURRENT * self._limit, MIN_MEMORY)
        self._held = 0

    @asynccontextmanager
    async def read_body(self, request: Request) -> AsyncIterator[bytes]:
        """The body as it was sent. Its memory counts as used until the block ends.

        Raises:
            PayloadError: the body is compressed.
            PermanentError: `too_large`.
            RetryableError: `too_many_requests`: other bodies use up the memory.
            HTTPException: 408, if the body does not arrive in time.
            ClientDisconnect: the body ended early.
        """
        if request.headers.get("content-encoding", "identity").strip().lower() not in {"", "identity"}:
            raise PayloadError("", "the body is compressed: send it without Content-Encoding")
        body = bytearray()
        try:
            await self._read(request, body)
            yield bytes(body)
        finally:
            self._held -= len(body)

    async def _read(self, request: Request, body: bytearray) -> None:
        content_length = request.headers.get("content-length", "")
        too_large = content_length.isdecimal() and int(content_length) > self._limit
        if too_large and "expect" in request.headers:  # the sender waits for permission before it sends the body
            raise self._too_large()
        try:
            async with asyncio.timeout(self._timeout_s if not too_large else LINGER_S) as timeout:
                async for chunk in request.stream():
                    # If the connection were closed now, the sender would see a broken connection and no response.
                    if not too_large and not self._append(chunk, body):
                        too_large = True
                        timeout.reschedule(asyncio.get_running_loop().time() + LINGER_S)
        except TimeoutError:
            if not too_large:
                message = f"the body did not arrive within {self._timeout_s:g} s (HOOK_BODY_TIMEOUT_S)"
                raise HTTPException(408, message) from None
        if too_large:
            raise self._too_large()

    def _append(self, chunk: bytes, body: bytearray) -> bool:
        if len(body) + len(chunk) > ALWAYS_ACCEPTED and self._held + len(chunk) > self._max_held:
            raise RetryableError(Code.TOO_MANY_REQUESTS, "too many large bodies at the same time", retry_after=1)
        body += chunk
        self._held += len(chunk)
        return len(body) <= self._limit

    def _too_large(self) -> PermanentError:
        return PermanentError(Code.TOO_LARGE, f"the body is larger than {self._limit} bytes (MAX_BODY_MB)")


def decode(body: bytes) -> Any:
    """The JSON of a body: UTF-8, without NaN, infinity or duplicate names, at most MAX_DEPTH levels deep.

    Raises:
        PayloadError: it is not such JSON.
    """
    try:
        decoded = json.loads(
            body.decode("utf-8-sig"),
            object_pairs_hook=_object,
            parse_constant=_refuse_constant,
            parse_float=_finite,
        )
    except (ValueError, RecursionError):
        raise PayloadError("", "the body is not JSON") from None
    # There are at most as many levels as brackets, so most bodies are not walked.
    if body.count(b"[") + body.count(b"{") > MAX_DEPTH and _is_deeper(decoded, MAX_DEPTH):
        raise PayloadError("", f"the body is nested deeper than {MAX_DEPTH} levels")
    return decoded


def _is_deeper(decoded: Any, limit: int) -> bool:
    level = [decoded]
    for _ in range(limit):
        containers = (
            item.values() if isinstance(item, dict) else item for item in level if isinstance(item, dict | list)
        )
        level = [child for children in containers for child in children]
    return any(isinstance(item, dict | list) for item in level)


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    result = dict(pairs)
    if len(result) < len(pairs):
        raise PayloadError("", "the body has an object with a duplicate name")
    return result


def _refuse_constant(name: str) -> Any:
    raise ValueError(f"{name} is not JSON")


def _finite(text: str) -> float:
    number = float(text)
    if math.isinf(number):
        raise ValueError("a number is too large")
    return number
