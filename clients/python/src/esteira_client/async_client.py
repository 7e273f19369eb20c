"""The client for asyncio. The other client runs it in a thread."""

from __future__ import annotations

import asyncio
import contextlib
import inspect
import logging
import time
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

from esteira_client.backoff import Backoff
from esteira_client.content import ContentInfo
from esteira_client.errors import EsteiraError, OptionError, SpoolError, UnavailableError
from esteira_client.messages import File, Form, HandOver, Message, WithoutMedia, hand_over_of, to_json
from esteira_client.receipts import Receipt
from esteira_client.replies import fallback_receipt, ignored_receipt, spooled_receipt
from esteira_client.spool import Spool, SpoolOptions
from esteira_client.spool_sender import OnError, SpoolSender
from esteira_client.transport import Transport, server_token, server_url

Fallback = Callable[[Message, str | None, EsteiraError], Any]

TIMEOUT_S = 2.0
CALL_TIMEOUT_S = 30.0
FLUSH_POLL_S = 0.1

log = logging.getLogger("esteira_client")


class AsyncContent:
    """A stored content while it is received: iterate over its chunks, once."""

    def __init__(self, info: ContentInfo, chunks: AsyncIterator[bytes]) -> None:
        self.mime, self.size, self.name = info.mime, info.size, info.name
        self._chunks = chunks

    def __aiter__(self) -> AsyncIterator[bytes]:
        return self._chunks

    async def read(self) -> bytes:
        """The whole content. Files may have hundreds of MB: prefer the chunks."""
        return b"".join([chunk async for chunk in self._chunks])


class AsyncClient:
    """Hands attachments over and reads what became of them. For one event loop.

    `url` is that of the web app (default: `ESTEIRA_URL`, or `http://127.0.0.1:8000`), `token` the API_TOKEN or a
    user's token (default: `ESTEIRA_TOKEN` or `API_TOKEN`). `timeout` is the longest wait of a hand-over in seconds.

    `spool` is a folder, or SpoolOptions; False switches it off. Its default folder is `ESTEIRA_SPOOL`, or
    `esteira-spool` in the working directory. `fallback(message, session, error)` is called, and awaited if it is a
    coroutine, where the server is away and the message cannot be spooled. `on_error(error, id)` is called for what
    happens in the background: an entry was moved aside, the token is wrong; by default it is logged.

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
        self._url = server_url(url)
        self._token = server_token(token)
        if not 0 < timeout <= 300:
            raise OptionError("timeout is above 0 and at most 300 s")
        self._timeout = timeout
        options = _spool_options(spool)
        self._spool = Spool(options) if options else None
        self._fallback = fallback
        self._on_error = on_error or _log_error
        self._backoff = Backoff()
        self._transport: Transport | None = None
        self._sender: SpoolSender | None = None
        self._sending: asyncio.Task[None] | None = None

    async def __aenter__(self) -> AsyncClient:
        self.start()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()

    def start(self) -> None:
        """Begins to send what is in the spool. The first call of any other method does it too."""
        if self._spool and (self._sending is None or self._sending.done()):
            self._sender = SpoolSender(self._spool, self._opened_transport(), self._backoff, self._on_error)
            self._sending = asyncio.create_task(self._sender.run(), name="esteira-spool")

    async def close(self) -> None:
        """Ends connections and the sending. What is in the spool is sent by the next client with this folder."""
        if self._sending:
            self._sending.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._sending
            self._sending = None
        if self._transport:
            await self._transport.close()
            self._transport = None

    async def process_media(
        self, message: Message, session: str | None = None, *, file: File | None = None, form: Form | None = None
    ) -> Receipt:
        """Hands a message over; returns as soon as it is recorded by the server or synced to the spool.

        `message` has the fields of an attachment, or is a message of WPPConnect, venom, whatsapp-web.js or Baileys.
        `session` may be a field of the message instead. `file`, bytes or a path, goes with the fields of an attachment
        that has no other source. `form` is needed only where the message does not show it.

        Raises:
            MessageError: the message cannot be handed over as it is.
            RefusedError: the server refuses it for good.
            UnavailableError: the server is away, the spool is off and there is no fallback.
            SpoolError: the same, and the spool is full or cannot be written.
        """
        self.start()
        sent = hand_over_of(message, session, file, form)
        if isinstance(sent, WithoutMedia):
            return ignored_receipt(sent.message_id)
        error: EsteiraError
        is_known_away = self._spool is not None and self._backoff.is_away
        if is_known_away:
            error = UnavailableError("the server is away", code=self._backoff.reason)
        else:
            try:
                return await self._ask(sent)
            except UnavailableError as away:
                error = away
        if self._spool and self._sender:
            try:
                await asyncio.to_thread(self._spool.store, sent)
            except SpoolError as spool_error:
                error = spool_error
            else:
                self._sender.wake()
                return spooled_receipt(sent, error.code)
            if is_known_away:  # it may have answered again since
                with contextlib.suppress(UnavailableError):
                    return await self._ask(sent)
        return await self._fall_back(message, session, sent, error)

    async def _ask(self, sent: HandOver) -> Receipt:
        """Sends a hand-over, and notes whether the server is away."""
        try:
            receipt = await self._opened_transport().hand_over(sent, within_s=self._timeout)
        except UnavailableError as error:
            if not self._backoff.is_away:
                self._backoff.fail(error.code, at_least_s=error.retry_after)
            raise
        was_waiting = self._backoff.remaining_s > 0
        self._backoff.succeed()
        if was_waiting and self._sender:
            self._sender.wake()
        return receipt

    async def _fall_back(self, message: Message, session: str | None, sent: HandOver, error: EsteiraError) -> Receipt:
        if self._fallback is None:
            raise error
        result = self._fallback(message, session, error)
        if inspect.isawaitable(result):
            result = await result
        return fallback_receipt(sent, error.code, result)

    async def flush(self, within_s: float) -> bool:
        """Waits for the spool to be sent, at most so many seconds; whether it is empty."""
        if self._spool is None:
            return True
        self.start()
        end = time.monotonic() + within_s
        while not (is_empty := await asyncio.to_thread(self._spool.is_empty)) and time.monotonic() < end:
            await asyncio.sleep(FLUSH_POLL_S)
        return is_empty

    async def media(self, media_id: str) -> dict[str, Any]:
        """An attachment as `GET /media/{id}` has it, with its history.

        Raises:
            NotFoundError: there is none with this id.
            UnavailableError, RefusedError: see there.
        """
        return await self._opened_transport().call("GET", _path(media_id), within_s=CALL_TIMEOUT_S)

    async def replay(self, media_id: str, **source: Any) -> dict[str, Any]:
        """Processes an attachment again: from the failed stage, or with a new source: `data`, `url`, or `direct_path`
        with `media_key`. Returns its id, status and stage.

        Raises:
            ConflictError: it has not ended, or is done.
            NotFoundError, UnavailableError, RefusedError: see there.
        """
        body = to_json(source) if source else None
        return await self._opened_transport().call("POST", f"{_path(media_id)}/replay", body, within_s=CALL_TIMEOUT_S)

    @contextlib.asynccontextmanager
    async def content(self, media_id: str) -> AsyncIterator[AsyncContent]:
        """Opens the stored content: `async with client.content(id) as content: async for chunk in content: …`.

        Raises:
            NotFoundError: there is none (yet), or it is deleted.
            UnavailableError: the server is away, or the content ends early.
        """
        async with self._opened_transport().content(f"{_path(media_id)}/content") as (info, chunks):
            yield AsyncContent(info, chunks)

    def _opened_transport(self) -> Transport:
        if self._transport is None:
            self._transport = Transport(self._url, self._token)
        return self._transport


def _spool_options(given: SpoolOptions | str | Path | bool) -> SpoolOptions | None:
    if isinstance(given, bool):
        return SpoolOptions() if given else None
    return given if isinstance(given, SpoolOptions) else SpoolOptions(folder=given)


def _path(media_id: str) -> str:
    if not (isinstance(media_id, str) and media_id.isascii() and media_id.isalnum()):
        raise OptionError("the id of an attachment is 32 hex digits")
    return f"/media/{media_id}"


def _log_error(error: EsteiraError, media_id: str | None) -> None:
    log.warning("esteira spool: %s (attachment %s)", error, media_id or "unknown")
