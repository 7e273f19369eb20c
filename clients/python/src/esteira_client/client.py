"""The client for programs without asyncio: the asynchronous one, in a thread of its own."""

from __future__ import annotations

import contextlib
import os
import threading
import weakref
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

from esteira_client.async_client import TIMEOUT_S, AsyncClient, AsyncContent, Fallback
from esteira_client.errors import SpoolError, UnavailableError
from esteira_client.loop_thread import LoopThread
from esteira_client.messages import File, Form, HandOver, Message, hand_over_of
from esteira_client.receipts import Receipt
from esteira_client.replies import fallback_receipt
from esteira_client.spool import SpoolOptions
from esteira_client.spool_sender import OnError


class Content:
    """A stored content while it is received: iterate over its chunks, once."""

    def __init__(self, content: AsyncContent, thread: LoopThread) -> None:
        self.mime, self.size, self.name = content.mime, content.size, content.name
        self._content = content
        self._thread = thread

    def __iter__(self) -> Iterator[bytes]:
        chunks = aiter(self._content)
        while chunk := self._thread.run(_next_chunk(chunks)):
            yield chunk

    def read(self) -> bytes:
        """The whole content. Files may have hundreds of MB: prefer the chunks, or `save`."""
        return self._thread.run(self._content.read())

    def save(self, path: str | Path) -> None:
        """Writes the content to a file."""
        with Path(path).open("wb") as out:
            for chunk in self:
                out.write(chunk)


class Client:
    """Hands attachments over and reads what became of them. Its methods may be called from any thread.

    The options are those of AsyncClient. `fallback` is called in the thread of the caller. What the spool holds is sent
    by a thread of the client, which begins with the client. A process that forks may go on using it.

    Raises:
        OptionError: an option is wrong.
    """

    def __init__(
        self,
        url: str | None = None,
        token: str | None = None,
        *,
        timeout: float = TIMEOUT_S,
        spool: SpoolOptions | str | Path | bool = True,
        fallback: Fallback | None = None,
        on_error: OnError | None = None,
    ) -> None:
        self._fallback = fallback
        self._open = _Opener(lambda: AsyncClient(url, token, timeout=timeout, spool=spool, on_error=on_error))
        self._open()
        weakref.finalize(self, self._open.close)

    def __enter__(self) -> Client:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Ends connections and the thread. What is in the spool is sent by the next client with this folder."""
        self._open.close()

    def process_media(
        self, message: Message, session: str | None = None, *, file: File | None = None, form: Form | None = None
    ) -> Receipt:
        """Hands a message over; returns as soon as it is recorded by the server or synced to the spool.

        Arguments and errors are those of `AsyncClient.process_media`.
        """
        thread, client = self._open()
        try:
            return thread.run(client.process_media(message, session, file=file, form=form))
        except (UnavailableError, SpoolError) as error:
            if self._fallback is None:
                raise
            sent = hand_over_of(message, session, file, form)
            assert isinstance(sent, HandOver)  # one without media raises no error
            return fallback_receipt(sent, error.code, self._fallback(message, session, error))

    def flush(self, within_s: float) -> bool:
        """Waits for the spool to be sent, at most so many seconds; whether it is empty."""
        thread, client = self._open()
        return thread.run(client.flush(within_s))

    def media(self, media_id: str) -> dict[str, Any]:
        """An attachment as `GET /media/{id}` has it, see `AsyncClient.media`."""
        thread, client = self._open()
        return thread.run(client.media(media_id))

    def replay(self, media_id: str, **source: Any) -> dict[str, Any]:
        """Processes an attachment again, see `AsyncClient.replay`."""
        thread, client = self._open()
        return thread.run(client.replay(media_id, **source))

    @contextlib.contextmanager
    def content(self, media_id: str) -> Iterator[Content]:
        """Opens the stored content: `with client.content(id) as content: content.save(path)`.

        Errors are those of `AsyncClient.content`.
        """
        thread, client = self._open()
        opened = client.content(media_id)
        content = thread.run(opened.__aenter__())
        try:
            yield Content(content, thread)
        finally:
            thread.run(opened.__aexit__(None, None, None))


class _Opener:
    """The thread and the asynchronous client of this process. After a fork the child has others than its parent."""

    def __init__(self, make: Any) -> None:
        self._make = make
        self._lock = threading.Lock()
        self._opened: tuple[LoopThread, AsyncClient] | None = None
        self._pid = os.getpid()

    def __call__(self) -> tuple[LoopThread, AsyncClient]:
        if self._pid != os.getpid():
            self._lock, self._opened, self._pid = threading.Lock(), None, os.getpid()
        with self._lock:
            if self._opened is None:
                client = self._make()
                thread = LoopThread()
                thread.run(_start(client))
                self._opened = (thread, client)
            return self._opened

    def close(self) -> None:
        if self._pid != os.getpid():
            return
        with self._lock:
            opened, self._opened = self._opened, None
        if opened:
            thread, client = opened
            thread.run(client.close())
            thread.stop()


async def _start(client: AsyncClient) -> None:
    client.start()


async def _next_chunk(chunks: AsyncIterator[bytes]) -> bytes:
    """The next chunk that is not empty; empty at the end."""
    async for chunk in chunks:
        if chunk:
            return chunk
    return b""
