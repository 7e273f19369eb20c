"""Receives uploads (multipart/form-data): each file is written to the staging directory while it arrives.

An upload never is in memory as a whole. When the request ends, however it ends, its files are removed; those of a
killed process are removed by workers, as other copies in the staging directory.
"""

from __future__ import annotations

import asyncio
import hashlib
from collections import Counter
from collections.abc import AsyncIterator, Iterator
from contextlib import AsyncExitStack, asynccontextmanager, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from fastapi import Request
from starlette.concurrency import run_in_threadpool
from starlette.exceptions import HTTPException

from esteira.web.intake.form_parser import FormFile, FormParser, pending_of, too_large
from esteira.web.server.connections import mark_receiving
from pipeline.config.limits import MB
from pipeline.config.settings import Settings
from pipeline.errors import Code, PayloadError, RetryableError
from pipeline.storage.staging import Staging, WritableCopy

MAX_UPLOADS = 16  # that one process receives at the same time
MAX_OF_TOKEN = 12  # so that one program does not take all places
WRITE_BYTES = 256 * 1024  # of an upload that are kept in memory before they are written
FRAME_BYTES = 2_000_000  # of a body beside its files: boundaries, headers and fields
MIN_BYTES_PER_S = 16 * 1024  # on average, after the first HOOK_BODY_TIMEOUT_S
RETRY_AFTER_S = 1


@dataclass(frozen=True)
class UploadedFile:
    """A file that was received. It exists until the request ends."""

    path: Path
    filename: str | None
    mimetype: str | None
    size: int
    sha256: str


@dataclass(frozen=True)
class UploadedForm:
    """The fields and files of an upload, in the order in which they were sent."""

    fields: dict[str, str]
    files: tuple[UploadedFile, ...]


class Uploads:
    """The uploads of one process. For the event loop only."""

    def __init__(self, settings: Settings) -> None:
        self._max_bytes = int(settings.max_upload_mb * MB)
        self._grace_s = settings.hook_body_timeout_s
        self._max_s = max(settings.fetch_max_s, settings.hook_body_timeout_s)
        self._staging = Staging(settings.staging)
        self._running: Counter[str] = Counter()

    @asynccontextmanager
    async def read_form(self, request: Request, *, token_id: str | None) -> AsyncIterator[UploadedForm]:
        """The form in a request's body. Its files are removed when the block ends.

        Raises:
            PayloadError: the body is compressed, malformed or ends early, or has too many parts.
            PermanentError: `too_large`.
            RetryableError: `too_many_requests`; `staging`, if the disk is full.
            HTTPException: 408, if it arrives too slowly.
            ClientDisconnect: the client left.
        """
        if request.headers.get("content-encoding", "identity").strip().lower() not in {"", "identity"}:
            raise PayloadError("", "the body is compressed: send it without Content-Encoding")
        announced = request.headers.get("content-length", "")
        if announced.isdecimal() and int(announced) > self._max_bytes + FRAME_BYTES:
            raise too_large(self._max_bytes)
        parser = FormParser(request.headers.get("content-type", ""), max_bytes=self._max_bytes)
        async with AsyncExitStack() as stack:
            stack.enter_context(self._slot(token_id or ""))
            files = _Files(self._staging)
            stack.push_async_callback(run_in_threadpool, files.close)
            with mark_receiving(request.scope):
                await self._receive(request, parser, files)
            fields = parser.fields()
            yield UploadedForm(fields, await run_in_threadpool(files.finish, parser.files))

    @contextmanager
    def _slot(self, token: str) -> Iterator[None]:
        if self._running.total() >= MAX_UPLOADS or self._running[token] >= MAX_OF_TOKEN:
            message = "too many uploads at the same time"
            raise RetryableError(Code.TOO_MANY_REQUESTS, message, retry_after=RETRY_AFTER_S)
        self._running[token] += 1
        try:
            yield
        finally:
            self._running[token] -= 1
            self._running += Counter()  # drops those that are zero

    async def _receive(self, request: Request, parser: FormParser, files: _Files) -> None:
        loop = asyncio.get_running_loop()
        began, received = loop.time(), 0
        try:
            async with asyncio.timeout(self._grace_s) as timeout:
                async for chunk in request.stream():
                    received += len(chunk)
                    parser.write(chunk)
                    if sum(len(file.pending) for file in parser.files) >= WRITE_BYTES:
                        await run_in_threadpool(files.write, parser.files)
                    allowed_s = min(self._grace_s + received / MIN_BYTES_PER_S, self._max_s)
                    timeout.reschedule(began + allowed_s)
                    if received > self._max_bytes + FRAME_BYTES:
                        raise too_large(self._max_bytes)
                await run_in_threadpool(files.write, parser.files)
        except TimeoutError:
            raise HTTPException(408, f"the upload arrives too slowly: {received} bytes so far") from None


class _Files:
    """The files of one upload, while they are written in threads."""

    def __init__(self, staging: Staging) -> None:
        self._staging = staging
        self._copies: list[WritableCopy] = []
        self._hashes: list[Any] = []

    def write(self, files: list[FormFile]) -> None:
        """Writes what has arrived of each file."""
        while len(self._copies) < len(files):
            self._copies.append(self._staging.writable_copy("upload"))
            self._hashes.append(hashlib.sha256())
        for number, data in pending_of(files):
            self._copies[number].write(data)
            self._hashes[number].update(data)

    def finish(self, files: list[FormFile]) -> tuple[UploadedFile, ...]:
        """The files with their paths."""
        written = zip(self._copies, self._hashes, strict=True)
        named = [(copy.finish(), digest.hexdigest()) for copy, digest in written]
        return tuple(
            UploadedFile(path, file.filename, file.mimetype, file.size, sha256)
            for file, (path, sha256) in zip(files, named, strict=True)
            if not file.is_absent
        )

    def close(self) -> None:
        """Removes all files."""
        for copy in self._copies:
            copy.discard()
