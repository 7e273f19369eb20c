"""Bodies of requests: read within limits of size and time, then decoded without surprises."""

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

MAX_DEPTH = 64
AT_ONCE = 4  # bodies of the largest size that may be held at the same time …
AT_LEAST_HELD = 64 * MB  # … or so many bytes in all, where a body may only be small
SMALL = 64 * 1024  # bytes of any body that have room however much others hold: only so many connections are open
LINGER_S = 2.0  # for a sender that reads the answer only when it has sent everything


class BodyReader:
    """Reads bodies for one process: each within its limits, all together within what the process can hold."""

    def __init__(self, settings: Settings) -> None:
        self._limit = int(settings.max_body_mb * MB)
        self._timeout_s = settings.hook_body_timeout_s
        self._most_held = max(AT_ONCE * self._limit, AT_LEAST_HELD)
        self._held = 0

    @asynccontextmanager
    async def read_body(self, request: Request) -> AsyncIterator[bytes]:
        """The body as it came, for as long as the block needs it.

        Raises:
            PayloadError: it is compressed.
            PermanentError: `too_large`.
            RetryableError: `too_many_requests`, if other bodies take up what may be held.
            HTTPException: 408, if it takes too long to arrive.
            ClientDisconnect: it ended early.
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
        announced = request.headers.get("content-length", "")
        too_large = announced.isdecimal() and int(announced) > self._limit
        if too_large and "expect" in request.headers:  # it asks before it sends
            raise self._too_large()
        try:
            async with asyncio.timeout(self._timeout_s if not too_large else LINGER_S) as patience:
                async for chunk in request.stream():
                    # Hung up on while it sends, a sender would see a broken connection and no answer.
                    if not too_large and not self._keep(chunk, body):
                        too_large = True
                        patience.reschedule(asyncio.get_running_loop().time() + LINGER_S)
        except TimeoutError:
            if not too_large:
                message = f"the body did not arrive within {self._timeout_s:g} s (HOOK_BODY_TIMEOUT_S)"
                raise HTTPException(408, message) from None
        if too_large:
            raise self._too_large()

    def _keep(self, chunk: bytes, body: bytearray) -> bool:
        if len(body) + len(chunk) > SMALL and self._held + len(chunk) > self._most_held:
            raise RetryableError(Code.TOO_MANY_REQUESTS, "too much is being sent at once", retry_after=1)
        body += chunk
        self._held += len(chunk)
        return len(body) <= self._limit

    def _too_large(self) -> PermanentError:
        return PermanentError(Code.TOO_LARGE, f"the body is larger than {self._limit} bytes (MAX_BODY_MB)")


def decode(body: bytes) -> Any:
    """The JSON of a body: UTF-8, no NaN or infinity, no name twice in an object, not nested deeper than MAX_DEPTH.

    Raises:
        PayloadError: it is none of that.
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
    # There are no more levels than brackets, so most bodies need no second look.
    if body.count(b"[") + body.count(b"{") > MAX_DEPTH and _is_deeper(decoded, MAX_DEPTH):
        raise PayloadError("", f"the body is nested deeper than {MAX_DEPTH} levels")
    return decoded


def _is_deeper(decoded: Any, limit: int) -> bool:
    level = [decoded]
    for _ in range(limit):
        inner = (item.values() if isinstance(item, dict) else item for item in level if isinstance(item, dict | list))
        level = [child for children in inner for child in children]
    return any(isinstance(item, dict | list) for item in level)


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    made = dict(pairs)
    if len(made) < len(pairs):
        raise PayloadError("", "the body has an object with the same name twice")
    return made


def _refuse_constant(name: str) -> Any:
    raise ValueError(f"{name} is not JSON")


def _finite(text: str) -> float:
    number = float(text)
    if math.isinf(number):
        raise ValueError("a number is too large")
    return number
